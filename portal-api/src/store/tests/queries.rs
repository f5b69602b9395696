//! The texts of the queries, as texts: what keeps them fit for both engines.

const SOURCES: [(&str, &str); 4] = [
    ("audit.rs", include_str!("../audit.rs")),
    ("links.rs", include_str!("../links.rs")),
    ("people.rs", include_str!("../people.rs")),
    ("visits.rs", include_str!("../visits.rs")),
];

/// Each `const NAME: &str = "…";` of a source file.
fn queries(source: &str) -> impl Iterator<Item = (&str, &str)> {
    source.split("\nconst ").skip(1).filter_map(|rest| {
        let (name, rest) = rest.split_once(": &str =")?;
        let (text, _) = rest.split_once("\";")?;
        Some((name, text.trim_start().trim_start_matches('"')))
    })
}

/// PostgreSQL numbers parameters, SQLite counts them by first appearance: in ascending order, both agree.
#[test]
fn parameters_are_numbered_by_appearance() {
    let mut count = 0;
    for (file, source) in SOURCES {
        for (name, text) in queries(source) {
            let numbers = text.split('$').skip(1).map(|rest| {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                digits.parse::<u32>().expect("a number after $")
            });
            let expected: Vec<u32> = (1..=numbers.clone().count() as u32).collect();
            assert_eq!(numbers.collect::<Vec<_>>(), expected, "{file} {name}");
            count += 1;
        }
    }
    assert!(count >= 25, "found only {count} queries");
}

#[test]
fn words_of_one_engine_only_stay_out() {
    for (file, source) in SOURCES {
        for (name, text) in queries(source) {
            let upper = text.to_uppercase();
            for word in [
                "ROWID",
                "IFNULL",
                " OR REPLACE",
                " OR IGNORE",
                "STRFTIME",
                "DATETIME(",
                "GLOB",
                "PRAGMA",
                "::",
                "ILIKE",
            ] {
                assert!(!upper.contains(word), "{file} {name}: {word}");
            }
        }
    }
}
