//! What is wrong with a value, in the words of whoever wrote it and not of the parser.

use std::net::{IpAddr, SocketAddr};

/// What serde calls the kinds of values, and what people do. Longer ones come first where one begins with another.
const KINDS: [(&str, &str); 22] = [
    ("usize", "a whole number, 0 or more"),
    ("u64", "a whole number, 0 or more"),
    ("u32", "a whole number, 0 or more"),
    ("u16", "a whole number from 0 to 65535"),
    ("i64", "a whole number"),
    ("a boolean", "true or false"),
    ("a sequence", "a list in [ ]"),
    ("a string", "a text in quotes"),
    ("string or table", "a text in quotes"),
    ("path string", "a text in quotes"),
    ("struct WrittenClinic", "a section, [clinic]"),
    ("struct WrittenMedia", "a section, [media]"),
    ("struct WrittenTurn", "a section, [turn]"),
    ("struct WrittenLimits", "a section, [limits]"),
    ("struct WrittenLog", "a section, [log]"),
    ("string ", "the text "),
    ("integer ", "the number "),
    ("floating point ", "the number "),
    ("boolean ", ""),
    ("sequence", "a list"),
    ("map", "a section"),
    ("IP address", "an IP address in quotes"),
];

/// A message of the TOML parser or of serde as a sentence without a full stop.
pub(super) fn plain(message: &str) -> String {
    let message = message.replace('\n', " ");
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let (name, others) = rest.split_once(", expected ").unwrap_or((rest, ""));
        let others = others.trim_start_matches("one of ").replace("` or `", "`, `");
        return format!("there is no key {name} here, only {others}");
    }
    if let Some((name, others)) = message
        .strip_prefix("unknown variant ")
        .and_then(|rest| rest.split_once(", expected "))
    {
        return format!("it is {name}, but must be {others}");
    }
    let wrong = ["invalid type: ", "invalid value: "]
        .iter()
        .find_map(|start| message.strip_prefix(start)?.split_once(", expected "));
    match wrong {
        Some((found, expected)) => format!("it must be {}, not {}", kind(expected), kind(found).replace('`', "")),
        // An address, a time or a word without quotes: the parser tries it as a number.
        None if message.starts_with("invalid float")
            || message.starts_with("invalid integer")
            || message.starts_with("string values must be quoted") =>
        {
            "it is neither a number nor true or false; texts and addresses stand in quotes, like \"0.0.0.0:8080\""
                .to_owned()
        }
        None if message == "invalid IP address syntax" => "it must be an IP address, like \"192.0.2.1\"".to_owned(),
        None => message,
    }
}

fn kind(text: &str) -> String {
    let known = KINDS.iter().find(|(serde, _)| text.starts_with(serde));
    known.map_or_else(
        || text.to_owned(),
        |(serde, plain)| format!("{plain}{}", &text[serde.len()..]),
    )
}

/// Reads where to listen: an IP address and a port.
///
/// # Errors
/// What is missing, and how to write it; without a full stop.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let port = |text: &str| text.parse::<u16>().is_ok();
    let say = |what: &str, instead: &str| Err(format!("\"{text}\" is {what}: write \"{instead}\""));
    if let Ok(number) = text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
        return say("a port without an address", &format!("0.0.0.0:{number}"));
    }
    if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return say("an address without a port", &SocketAddr::new(address, 8080).to_string());
    }
    match text.rsplit_once(':') {
        Some((host, number)) if port(number) && !host.is_empty() && !host.contains(':') => say(
            "not an IP address and a port",
            &format!("{}:{number}", if host == "localhost" { "127.0.0.1" } else { "0.0.0.0" }),
        ),
        _ => say("not an IP address and a port", "0.0.0.0:8080"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_listen() {
        for (text, address) in [
            ("0.0.0.0:8092", "0.0.0.0:8092"),
            ("[::]:0", "[::]:0"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443"),
        ] {
            assert_eq!(
                listen_address(text).map(|read| read.to_string()),
                Ok(address.to_owned())
            );
        }
        for (text, wrong, instead) in [
            ("8092", "a port without an address", "0.0.0.0:8092"),
            (":8092", "a port without an address", "0.0.0.0:8092"),
            ("192.0.2.7", "an address without a port", "192.0.2.7:8080"),
            ("::1", "an address without a port", "[::1]:8080"),
            ("[::1]", "an address without a port", "[::1]:8080"),
            ("localhost:9", "not an IP address and a port", "127.0.0.1:9"),
            ("visits.example.org:443", "not an IP address and a port", "0.0.0.0:443"),
            ("0.0.0.0:70000", "not an IP address and a port", "0.0.0.0:8080"),
            ("", "not an IP address and a port", "0.0.0.0:8080"),
            ("http://0.0.0.0:8080", "not an IP address and a port", "0.0.0.0:8080"),
        ] {
            assert_eq!(
                listen_address(text),
                Err(format!("\"{text}\" is {wrong}: write \"{instead}\"")),
            );
            assert!(instead.parse::<SocketAddr>().is_ok(), "the advice works");
        }
    }

    /// Every key, with a value of each wrong kind: no word of Rust comes through.
    #[test]
    fn no_parsers_words_come_through() {
        let keys = [
            "listen",
            "public_url",
            "public_addresses",
            "trusted_proxies",
            "metrics_from",
            "data_dir",
            "demo",
            "clinic",
            "clinic.name",
            "media",
            "media.shards",
            "media.start_kbps",
            "turn",
            "turn.relay",
            "limits",
            "limits.viewers_per_visit",
            "log",
            "log.format",
            "log.filter",
        ];
        let values = [
            "1",
            "-1",
            "1.5",
            "true",
            "\"x\"",
            "[1]",
            "[\"x\"]",
            "{ x = 1 }",
            "1979-05-27",
        ];
        for value in ["0.0.0.0:8080", "visits", "10.0.0.1", "12:30"] {
            let said = super::super::Written::from_toml(&format!("listen = {value}"), "file").err();
            let said = said.map(|error| error.to_string()).unwrap_or_default();
            assert!(said.contains("quotes"), "{value}: {said}");
        }
        let mut refused = 0;
        for (key, value) in keys.iter().flat_map(|key| values.map(|value| (key, value))) {
            let Err(error) = super::super::Written::from_toml(&format!("{key} = {value}"), "file") else {
                continue;
            };
            refused += 1;
            let said = error.to_string();
            for word in [
                "usize", "u32", "sequence", "boolean", "struct", "expected", "invalid", "integer", "Written", "variant",
            ] {
                assert!(!said.contains(word), "{key} = {value}: {said}");
            }
        }
        assert!(refused > 100, "{refused} of them are wrong");
    }
}
