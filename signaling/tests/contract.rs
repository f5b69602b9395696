//! The protocol as files: golden messages, the TypeScript types of the web client, the protocol page.
//!
//! `HOUSECALL_UPDATE=1 cargo test -p housecall-signaling --test contract` rewrites `web-client/types/protocol.d.ts`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use housecall_signaling::CloseCode;
use housecall_signaling::message::{ClientMessage, ServerMessage};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ts_rs::{Config, TS, TypeVisitor};

fn house() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Golden files of one side: name without `.json`, and text.
fn golden(side: &str) -> BTreeMap<String, String> {
    let folder = house().join("signaling/golden").join(side);
    let files = fs::read_dir(folder).expect("the folder of golden files");
    files
        .map(|file| file.expect("a file").path())
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("text"))
        })
        .collect()
}

/// The names of all variants, as serde itself lists them.
fn kinds<M: DeserializeOwned>() -> BTreeSet<String> {
    let Err(error) = serde_json::from_str::<M>(r#"{"type":"no such message"}"#) else {
        panic!("a message of an unknown kind was accepted");
    };
    let text = error.to_string();
    let list = text
        .split_once("expected one of")
        .expect("serde lists what it expected")
        .1;
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn check_golden<M: DeserializeOwned + Serialize>(side: &str) {
    let files = golden(side);
    let mut shown = BTreeSet::new();
    for (name, text) in &files {
        let value: Value = serde_json::from_str(text).expect("JSON");
        let message: M = serde_json::from_str(text).unwrap_or_else(|error| panic!("{side}/{name}: {error}"));
        let back = serde_json::to_value(&message).expect("a value");
        assert_eq!(back, value, "{side}/{name} does not come back as it was");
        let kind = value["type"].as_str().expect("a type").to_owned();
        assert!(name.starts_with(&kind), "{side}/{name} holds {kind}");
        shown.insert(kind);

        let mut unknown = value.clone();
        unknown["unknown_field"] = Value::Null;
        let refused = serde_json::from_value::<M>(unknown).is_err();
        assert!(refused, "{side}/{name}: an unknown field is accepted");
    }
    assert_eq!(shown, kinds::<M>(), "every message of the {side} has a golden file");
}

#[test]
fn client_messages_are_as_in_the_golden_files() {
    check_golden::<ClientMessage>("client");
}

#[test]
fn server_messages_are_as_in_the_golden_files() {
    check_golden::<ServerMessage>("server");
}

/// One example of each message stands in the page, the same as in the golden file of that name.
#[test]
fn the_protocol_page_shows_the_golden_files_and_the_close_codes() {
    let page = fs::read_to_string(house().join("docs/protocol.md")).expect("docs/protocol.md");
    let compact = |text: &str| text.split_whitespace().collect::<String>();
    let whole = compact(&page);
    let mut missing = Vec::new();
    for (side, kinds) in [
        ("client", kinds::<ClientMessage>()),
        ("server", kinds::<ServerMessage>()),
    ] {
        let files = golden(side);
        missing.extend(kinds.into_iter().filter(|kind| !whole.contains(&compact(&files[kind]))));
    }
    assert!(
        missing.is_empty(),
        "docs/protocol.md does not show the golden files of {missing:?}"
    );
    for code in CloseCode::ALL {
        let row = format!("|{}|`{}`|", code.number(), code.name());
        assert!(whole.contains(&row), "docs/protocol.md has no row {row}");
    }
}

/// Declarations of a type and of all it is made of.
#[derive(Default)]
struct Declarations {
    config: Config,
    found: BTreeMap<String, String>,
}

impl TypeVisitor for Declarations {
    fn visit<T: TS + 'static + ?Sized>(&mut self) {
        // What has no file of its own (`string`, `Array<…>`) is looked through.
        if T::output_path().is_some() {
            let name = T::name(&self.config);
            if self.found.insert(name, T::decl(&self.config)).is_some() {
                return;
            }
        }
        T::visit_dependencies(self);
        T::visit_generics(self);
    }
}

fn typescript() -> String {
    let mut declarations = Declarations::default();
    declarations.visit::<ClientMessage>();
    declarations.visit::<ServerMessage>();
    let mut text = String::from(
        "// Generated from signaling/src/message.rs by its tests; docs/protocol.md explains each message.\n\
         // To write it anew: HOUSECALL_UPDATE=1 cargo test -p housecall-signaling --test contract\n\n\
         /** A participant, for the length of a stay. */\nexport type ParticipantRef = string;\n\n\
         /** A track, for as long as it is published. */\nexport type TrackRef = string;\n",
    );
    for declaration in declarations.found.values() {
        text.push_str("\nexport ");
        text.push_str(&declaration.replace(" | { \"", "\n  | { \""));
        text.push('\n');
    }
    text
}

#[test]
fn the_web_clients_types_are_up_to_date() {
    let path = house().join("web-client/types/protocol.d.ts");
    let expected = typescript();
    if std::env::var_os("HOUSECALL_UPDATE").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("making the folder");
        fs::write(&path, &expected).expect("writing the types");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "web-client/types/protocol.d.ts is out of date; run with HOUSECALL_UPDATE=1"
    );
}

/// Cut short anywhere, or with any byte changed, a message is refused or understood, and nothing else happens.
#[test]
fn damaged_messages_are_harmless() {
    let files = golden("client").into_values().chain(golden("server").into_values());
    let mut tried = 0;
    for text in files {
        let bytes = text.as_bytes();
        for end in 0..=bytes.len() {
            housecall_signaling::fuzzing::message(&bytes[..end]);
            let mut damaged = bytes.to_vec();
            for with in [b'"', b'}', b'0', b'-', 0, 0xff] {
                if let Some(byte) = damaged.get_mut(end) {
                    *byte = with;
                }
                housecall_signaling::fuzzing::message(&damaged);
                tried += 1;
            }
        }
    }
    assert!(tried > 10_000, "only {tried}");
}
