//! Results: a table for people, JSON lines for programs.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::{Cell, CellAlignment, Table};
use serde::Serialize;

/// One line of a table.
pub(crate) trait Row: Serialize {
    /// The benchmark it belongs to.
    const BENCH: &'static str;
    /// Headings and figures, the same headings for every row.
    fn cells(&self) -> Vec<(&'static str, String)>;
    /// What must be said beside the figures, such as that the generator was the limit.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Prints the rows, then what the columns mean, then the notes.
pub(crate) fn print<R: Row>(rows: &[R], meaning: &[&str]) {
    println!("{}", table(rows));
    for line in meaning {
        println!("{line}");
    }
    for (number, row) in rows.iter().enumerate() {
        for note in row.notes() {
            println!("NOTE, row {}: {note}", number + 1);
        }
    }
}

/// Appends the rows to a file, one JSON object each; `-` is standard output.
pub(crate) fn write_json<R: Row>(rows: &[R], file: Option<&Path>) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    let text = json_lines(rows)?;
    if file.as_os_str() == "-" {
        print!("{text}");
        return Ok(());
    }
    let mut out = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .with_context(|| format!("opening {}", file.display()))?;
    out.write_all(text.as_bytes())?;
    Ok(())
}

fn table<R: Row>(rows: &[R]) -> Table {
    let mut table = Table::new();
    for (number, row) in rows.iter().enumerate() {
        let cells = row.cells();
        if number == 0 {
            table.set_header(cells.iter().map(|(heading, _)| *heading));
        }
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        table.add_row(cells.into_iter().map(|(_, text)| right(text)));
    }
    table
}

fn json_lines<R: Row>(rows: &[R]) -> Result<String> {
    let mut text = String::new();
    for row in rows {
        let mut value = serde_json::to_value(row)?;
        if let Some(object) = value.as_object_mut() {
            object.insert("bench".to_owned(), R::BENCH.into());
            object.insert("notes".to_owned(), row.notes().into());
        }
        text.push_str(&value.to_string());
        text.push('\n');
    }
    Ok(text)
}

/// Two decimals below ten, one below a hundred, none above.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "–".to_owned(),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Two {
        first: u32,
        second: f64,
    }

    impl Row for Two {
        const BENCH: &'static str = "two";
        fn cells(&self) -> Vec<(&'static str, String)> {
            vec![("first", self.first.to_string()), ("second", figure(self.second))]
        }
        fn notes(&self) -> Vec<String> {
            if self.first > 1 {
                vec!["more than one".to_owned()]
            } else {
                Vec::new()
            }
        }
    }

    const ROWS: [Two; 2] = [
        Two {
            first: 1,
            second: 2.345,
        },
        Two { first: 2, second: 12.0 },
    ];

    #[test]
    fn a_table_has_a_heading_and_a_line_for_each_row() {
        let text = table(&ROWS).to_string();
        for part in ["first", "second", "2.35", "12.0"] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn json_lines_name_their_benchmark_and_carry_their_notes() {
        let text = json_lines(&ROWS).expect("numbers are JSON");
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["bench"], "two");
        assert_eq!(lines[0]["first"], 1);
        assert_eq!(lines[0]["notes"], serde_json::json!([]));
        assert_eq!(lines[1]["notes"], serde_json::json!(["more than one"]));
    }

    #[test]
    fn figures_have_three_digits_or_so() {
        assert_eq!(
            [1.234, 56.78, 1234.5, f64::NAN].map(figure),
            ["1.23", "56.8", "1234", "–"].map(str::to_owned)
        );
    }
}
