//! Names of stored things, one type per kind. All are random (UUID version 4): an id tells neither time nor number.

use std::fmt;
use std::str::FromStr;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $kind:literal;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// What this kind of thing is called in the audit log.
            pub const KIND: &'static str = $kind;

            /// A fresh id.
            #[must_use]
            pub fn random() -> Self {
                Self(Uuid::from_bytes(crate::secret::random_uuid_bytes()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::from_str(text).map(Self)
            }
        }

        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from(self.to_string()))
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                value.as_str()?.parse().map_err(FromSqlError::other)
            }
        }
    )* };
}

ids! {
    /// A clinic: the tenant. No row of one clinic is ever shown to another.
    ClinicId = "clinic";
    /// A person: staff, patient or guest.
    PersonId = "person";
    /// An appointment: a time that was agreed on.
    AppointmentId = "appointment";
    /// A visit: what happens at that time. Stands in URLs.
    VisitId = "visit";
    /// A join link. Not its secret.
    LinkId = "link";
    /// A session. Not its token.
    SessionId = "session";
    /// An operator: whoever holds one of their tokens. Not the token.
    OperatorId = "operator";
    /// One HTTP request or one command, for finding its audit rows and log lines.
    RequestId = "request";
}
