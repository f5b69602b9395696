//! The rules of the house, held by a machine. Each test names every offence at once, with its file and line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use housecall::config::Written;

/// Longest source file. Files aim for 600 lines; what is longer than this has become two things.
const MAX_LINES: usize = 800;

/// The crates from left to right. Each may use only what is to its right.
const ARROWS: [(&str, &str); 5] = [
    ("housecall", "Cargo.toml"),
    ("housecall-portal", "portal-api/Cargo.toml"),
    ("housecall-signaling", "signaling/Cargo.toml"),
    ("housecall-sfu", "sfu/Cargo.toml"),
    ("housecall-turn", "turn-relay/Cargo.toml"),
];
/// Stands beside them: speaks the protocol, from outside.
const BENCH: (&str, &str, &[&str]) = ("bench", "bench/Cargo.toml", &["housecall-signaling"]);

const DEPENDENCY_TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|cause| panic!("reading {}: {cause}", path.display()))
}

/// Every file that git tracks or would add, relative to the root.
fn files() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("the tidy tests need git on the path");
    assert!(
        output.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let names = String::from_utf8(output.stdout).expect("file names are UTF-8");
    let files: Vec<PathBuf> = names
        .split_terminator('\0')
        .map(PathBuf::from)
        .filter(|file| root().join(file).is_file())
        .collect();
    assert!(
        files.len() > 50,
        "found only {} files: this is not the source tree",
        files.len()
    );
    files
}

/// Files that people write and read, with their text. Fuzz inputs are neither.
fn texts() -> Vec<(PathBuf, String)> {
    files()
        .into_iter()
        .filter(|file| !file.starts_with("fuzz/corpus"))
        .filter_map(|file| {
            let text = std::fs::read_to_string(root().join(&file)).ok()?;
            Some((file, text))
        })
        .collect()
}

fn has_extension(file: &Path, wanted: &[&str]) -> bool {
    file.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| wanted.contains(&extension))
}

fn none(rule: &str, offences: &[String]) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}

/// Offences of every line of every text file for which `wrong` has something to say.
fn lines_that(wrong: impl Fn(&Path, &str) -> Option<String>) -> Vec<String> {
    let mut offences = Vec::new();
    for (file, text) in texts() {
        for (index, line) in text.lines().enumerate() {
            if let Some(what) = wrong(&file, line) {
                offences.push(format!("{}:{}: {what}", file.display(), index + 1));
            }
        }
    }
    offences
}

#[test]
fn files_are_short_enough_to_read() {
    let offences: Vec<String> = texts()
        .iter()
        .filter(|(file, _)| has_extension(file, &["rs", "js", "mjs", "ts", "css"]))
        .map(|(file, text)| (file, text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(file, lines)| format!("{}: {lines} lines", file.display()))
        .collect();
    none("at most 800 lines per file; split it by what it is about", &offences);
}

#[test]
fn unfinished_work_has_an_issue() {
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("HA", "CK:"),
    ];
    let offences = lines_that(|_, line| {
        let found = words.iter().find(|word| line.contains(*word))?;
        let has_number = line
            .split('#')
            .skip(1)
            .any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        (!has_number).then(|| format!("{found} without the number of an issue"))
    });
    none("unfinished work names its issue, as in #12", &offences);
}

#[test]
fn the_sample_configuration_shows_every_key_with_its_default() {
    let sample: toml::Table = toml::from_str(&read("configs/housecall.toml")).expect("the sample is TOML");
    let defaults = toml::Table::try_from(Written::default()).expect("the defaults can be written");
    assert_eq!(
        sample, defaults,
        "configs/housecall.toml (left) and src/config.rs (right) differ"
    );
}

#[test]
fn the_configuration_page_names_every_key() {
    let page = read("docs/configuration.md");
    let mut missing = Vec::new();
    let defaults = toml::Table::try_from(Written::default()).expect("the defaults can be written");
    for (name, value) in &defaults {
        let keys: Vec<String> = match value.as_table() {
            Some(table) => table.keys().map(|key| format!("{name}.{key}")).collect(),
            None => vec![name.clone()],
        };
        missing.extend(keys.into_iter().filter(|key| !page.contains(&format!("`{key}`"))));
    }
    none("keys that docs/configuration.md does not name", &missing);
}

#[test]
fn crates_use_only_what_is_to_their_right() {
    let mut offences = Vec::new();
    for (position, (name, manifest)) in ARROWS.iter().enumerate() {
        let right: Vec<&str> = ARROWS[position + 1..].iter().map(|(name, _)| *name).collect();
        offences.extend(forbidden_arrows(name, manifest, &right));
    }
    offences.extend(forbidden_arrows(BENCH.0, BENCH.1, BENCH.2));
    none("arrows between crates that point the wrong way", &offences);
}

fn forbidden_arrows(name: &str, manifest: &str, allowed: &[&str]) -> Vec<String> {
    let ours: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).chain([BENCH.0]).collect();
    dependencies(&parsed(manifest))
        .into_iter()
        .map(|(dependency, _)| dependency)
        .filter(|dependency| ours.contains(dependency.as_str()) && !allowed.contains(&dependency.as_str()))
        .map(|dependency| format!("{name} -> {dependency}"))
        .collect()
}

fn parsed(manifest: &str) -> toml::Table {
    toml::from_str(&read(manifest)).unwrap_or_else(|cause| panic!("{manifest}: {cause}"))
}

/// All dependencies of a manifest: plain, for tests, for builds, and per platform.
fn dependencies(manifest: &toml::Table) -> Vec<(String, toml::Value)> {
    let platforms = manifest.get("target").and_then(toml::Value::as_table);
    let tables = platforms
        .into_iter()
        .flat_map(|table| table.values())
        .filter_map(toml::Value::as_table);
    std::iter::once(manifest)
        .chain(tables)
        .flat_map(|table| DEPENDENCY_TABLES.iter().filter_map(|key| table.get(*key)?.as_table()))
        .flatten()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[test]
fn every_dependency_is_named_once_and_used() {
    let workspace = parsed("Cargo.toml");
    let named: BTreeSet<String> = workspace["workspace"]["dependencies"]
        .as_table()
        .expect("a table of dependencies")
        .keys()
        .cloned()
        .collect();
    let mut used = BTreeSet::new();
    let mut offences = Vec::new();
    for manifest in ARROWS.iter().map(|(_, manifest)| *manifest).chain([BENCH.1]) {
        for (name, value) in dependencies(&parsed(manifest)) {
            if value.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
                offences.push(format!("{manifest}: {name} has a version of its own"));
            }
            used.insert(name);
        }
    }
    offences.extend(
        named
            .difference(&used)
            .map(|name| format!("{name} is named, but no crate uses it")),
    );
    none(
        "dependencies are named in the root manifest, and only those that are used",
        &offences,
    );
}

/// The whole protocol is two enums; the page must show each of their messages.
#[test]
fn the_protocol_page_shows_every_message() {
    let source = read("signaling/src/message.rs");
    let page: String = read("docs/protocol.md").split_whitespace().collect();
    let mut missing = Vec::new();
    for name in ["ClientMessage", "ServerMessage"] {
        let variants = variants_of(&source, name);
        assert!(variants.len() >= 8, "only found {variants:?} in {name}");
        missing.extend(
            variants
                .into_iter()
                .filter(|variant| !page.contains(&format!("\"type\":\"{}\"", snake_case(variant))))
                .map(|variant| format!("{name}::{variant}")),
        );
    }
    none("messages that docs/protocol.md does not show", &missing);
}

/// Names of an enum's variants, read from its source: lines at one level of indentation that begin with a capital.
fn variants_of(source: &str, name: &str) -> Vec<String> {
    let (_, body) = source
        .split_once(&format!("pub enum {name} {{\n"))
        .unwrap_or_else(|| panic!("no enum {name}"));
    let (body, _) = body.split_once("\n}\n").expect("an enum ends");
    body.lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
        .map(|line| line.chars().take_while(char::is_ascii_alphanumeric).collect())
        .collect()
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for (index, letter) in name.chars().enumerate() {
        if letter.is_ascii_uppercase() && index > 0 {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// Paths that exist on the writer's machine alone.
#[test]
fn no_file_names_a_path_of_somebodys_machine() {
    let tops = ["home", "root", "work", "farm", "Users", "mnt"];
    let offences = lines_that(|_, line| {
        let mut before = ' ';
        for (index, letter) in line.char_indices() {
            if letter == '/' && !before.is_alphanumeric() && !matches!(before, '/' | '.' | '-' | '_' | '}' | '*' | '<')
            {
                let rest = &line[index + 1..];
                let top = rest.split('/').next().unwrap_or_default();
                if tops.contains(&top) && rest.len() > top.len() {
                    return Some(format!("a path under /{top}"));
                }
            }
            before = letter;
        }
        None
    });
    none("paths of one machine", &offences);
}

/// Lock files name the public registries, whatever mirror the writer's machine used.
#[test]
fn packages_come_from_the_public_registries() {
    let mut offences = Vec::new();
    for (file, text) in texts() {
        let allowed = match file.file_name().and_then(|name| name.to_str()) {
            Some("Cargo.lock") => ("source = \"", "registry+https://github.com/rust-lang/crates.io-index\""),
            Some("package-lock.json") => ("\"resolved\": \"", "https://registry.npmjs.org/"),
            _ => continue,
        };
        for (index, line) in text.lines().enumerate() {
            if let Some((_, source)) = line.split_once(allowed.0)
                && !source.starts_with(allowed.1)
            {
                offences.push(format!("{}:{}: {source}", file.display(), index + 1));
            }
        }
    }
    none("packages from elsewhere", &offences);
}

#[test]
fn links_between_pages_lead_somewhere() {
    let files: BTreeSet<PathBuf> = files().into_iter().collect();
    let folders: BTreeSet<&Path> = files.iter().flat_map(|file| file.ancestors().skip(1)).collect();
    let mut offences = Vec::new();
    let mut links = 0;
    for (page, text) in texts() {
        if !has_extension(&page, &["md"]) {
            continue;
        }
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split([')', ' ']).next())
        {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
                continue;
            }
            links += 1;
            let whole = normal(&page.parent().unwrap_or(Path::new("")).join(path));
            if !files.contains(&whole) && !folders.contains(whole.as_path()) {
                offences.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(links > 0, "found no link at all: the search is broken");
    none("links to files that are not there", &offences);
}

/// Resolves `.` and `..` without asking the file system, so that a link can't leave the tree through a symbolic link.
fn normal(path: &Path) -> PathBuf {
    let mut parts: Vec<&std::ffi::OsStr> = Vec::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                parts.pop();
            }
            std::path::Component::Normal(name) => parts.push(name),
            _ => {}
        }
    }
    parts.iter().collect()
}

/// Every fuzz target has its file, its seeds, and its place in the replay on the stable compiler.
#[test]
fn fuzz_targets_files_and_corpora_agree() {
    let manifest = parsed("fuzz/Cargo.toml");
    let bins = manifest["bin"].as_array().expect("a list of targets");
    let targets: BTreeSet<String> = bins
        .iter()
        .filter_map(|bin| Some(bin.get("name")?.as_str()?.to_owned()))
        .collect();
    assert_eq!(targets.len(), bins.len(), "a target is named twice");
    let mut found: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for file in files() {
        let mut parts = file.iter().filter_map(|part| part.to_str());
        match (parts.next(), parts.next(), parts.next()) {
            (Some("fuzz"), Some("corpus"), Some(target)) => {
                found.entry("corpus").or_default().insert(target.to_owned());
            }
            (Some("fuzz"), Some("fuzz_targets"), Some(file)) => {
                found
                    .entry("files")
                    .or_default()
                    .insert(file.trim_end_matches(".rs").to_owned());
            }
            _ => {}
        }
    }
    assert_eq!(
        found.get("files"),
        Some(&targets),
        "fuzz/fuzz_targets (left), fuzz/Cargo.toml (right)"
    );
    assert_eq!(
        found.get("corpus"),
        Some(&targets),
        "fuzz/corpus (left), fuzz/Cargo.toml (right)"
    );
}
