//! What is logged.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// What to write instead of a filter that is refused.
pub const ADVICE: &str = "Use off, error, warn, info, debug or trace, or a list like \"info,housecall_sfu=debug\"";

/// Reads a filter: levels, and parts of the program with a level each.
///
/// The library also takes a word that is no level, for a part of the program of which everything is logged, and of all others nothing. Here
/// that is refused: it is far more often a level with a typing error in it, and a server without a log is noticed when the log is needed.
///
/// # Errors
/// What is wrong with it; without a full stop.
pub fn filter(text: &str) -> Result<EnvFilter, String> {
    let directives = text.split(',').map(str::trim).filter(|directive| !directive.is_empty());
    let directives: Vec<&str> = directives.collect();
    for directive in &directives {
        // A filter by span and field has brackets.
        if !directive.contains(['=', '[', ']', '{', '}']) && directive.parse::<LevelFilter>().is_err() {
            return Err(format!("\"{directive}\" is no level"));
        }
    }
    directives
        .join(",")
        .parse()
        .map_err(|cause| format!("it cannot be read: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_parts_with_a_level_are_taken_and_mistyped_levels_are_not() {
        for text in [
            "info",
            "INFO",
            "off",
            "info,dimpl=error",
            "warn, housecall_sfu=debug",
            "housecall_sfu[join{visit=3}]=trace",
            "",
        ] {
            assert!(filter(text).is_ok(), "{text}");
        }
        for (text, wrong) in [
            ("verbose", "\"verbose\" is no level"),
            ("information", "\"information\" is no level"),
            ("info,dimpl", "\"dimpl\" is no level"),
            ("wran,housecall_sfu=debug", "\"wran\" is no level"),
        ] {
            assert_eq!(filter(text).err().as_deref(), Some(wrong));
        }
        assert!(filter("housecall_sfu=verbose").is_err());
    }
}
