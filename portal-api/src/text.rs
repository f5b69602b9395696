//! Text that people typed, checked once at the edge.

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::{Serialize, Serializer};

use crate::limits::NAME_CHARS;

/// A person's name. Personal data: neither `Debug` nor `Display`; serialised only into answers for those who may see it.
#[derive(Clone, PartialEq, Eq)]
pub struct PersonName(String);

/// Why a name was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing but space.
    #[error("the name is empty")]
    Empty,
    /// Over [`NAME_CHARS`].
    #[error("the name is longer than {NAME_CHARS} characters")]
    TooLong,
    /// Line breaks, control characters, or marks that reorder the text around them.
    #[error("the name contains characters that cannot be shown")]
    Unprintable,
}

impl PersonName {
    /// Takes a name as typed; space at the ends is dropped.
    ///
    /// # Errors
    /// See [`NameError`].
    pub fn new(text: &str) -> Result<Self, NameError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.chars().count() > NAME_CHARS {
            return Err(NameError::TooLong);
        }
        if text.chars().any(is_unprintable) {
            return Err(NameError::Unprintable);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name, for the eyes of those who may see it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Control characters, and the bidirectional controls that would let a name rearrange the line it stands in.
fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

impl Serialize for PersonName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl ToSql for PersonName {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.as_str()))
    }
}

impl FromSql for PersonName {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str().map(|text| Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_bounded() {
        let check = |text: &str, expected: Result<&str, NameError>| {
            let got = PersonName::new(text).map(|name| name.expose().to_owned());
            assert!(got == expected.map(str::to_owned));
        };
        check("  Ana María Ñandú ", Ok("Ana María Ñandú"));
        check("محمد", Ok("محمد"));
        check(" \t", Err(NameError::Empty));
        check(&"x".repeat(NAME_CHARS + 1), Err(NameError::TooLong));
        check("a\nb", Err(NameError::Unprintable));
        check("a\u{202e}b", Err(NameError::Unprintable));
    }
}
