-- The first tables. Instants are microseconds since 1970 in UTC; zones stand beside them where a person agreed on a local time.

CREATE TABLE clinics (
    id          TEXT PRIMARY KEY,
    slug        TEXT NOT NULL UNIQUE,
    name        TEXT NOT NULL,
    time_zone   TEXT NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE people (
    id            TEXT PRIMARY KEY,
    clinic        TEXT NOT NULL REFERENCES clinics (id),
    kind          TEXT NOT NULL CHECK (kind IN ('clinician', 'patient', 'guest')),
    display_name  TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    UNIQUE (clinic, id)
) STRICT;

CREATE TABLE appointments (
    id          TEXT PRIMARY KEY,
    clinic      TEXT NOT NULL REFERENCES clinics (id),
    clinician   TEXT NOT NULL,
    starts_at   INTEGER NOT NULL,
    ends_at     INTEGER NOT NULL CHECK (ends_at > starts_at),
    time_zone   TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    UNIQUE (clinic, id),
    FOREIGN KEY (clinic, clinician) REFERENCES people (clinic, id)
) STRICT;
CREATE INDEX appointments_by_start ON appointments (clinic, starts_at);

CREATE TABLE visits (
    id           TEXT PRIMARY KEY,
    clinic       TEXT NOT NULL,
    appointment  TEXT NOT NULL UNIQUE,
    status       TEXT NOT NULL CHECK (status IN ('scheduled', 'in_progress', 'ended', 'cancelled')),
    started_at   INTEGER,
    ended_at     INTEGER,
    UNIQUE (clinic, id),
    FOREIGN KEY (clinic, appointment) REFERENCES appointments (clinic, id)
) STRICT;

-- Who belongs to a visit. The composite keys make a person of another clinic impossible here, not merely unlikely.
CREATE TABLE visit_people (
    clinic       TEXT NOT NULL,
    visit        TEXT NOT NULL,
    person       TEXT NOT NULL,
    role         TEXT NOT NULL CHECK (role IN ('clinician', 'patient', 'guest')),
    admitted_at  INTEGER,
    left_at      INTEGER,
    PRIMARY KEY (visit, person),
    FOREIGN KEY (clinic, visit) REFERENCES visits (clinic, id),
    FOREIGN KEY (clinic, person) REFERENCES people (clinic, id)
) STRICT;
CREATE INDEX visit_people_by_person ON visit_people (person, visit);

CREATE TABLE join_links (
    id           TEXT PRIMARY KEY,
    secret_hash  TEXT NOT NULL UNIQUE,
    visit        TEXT NOT NULL,
    person       TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    revoked_at   INTEGER,
    FOREIGN KEY (visit, person) REFERENCES visit_people (visit, person)
) STRICT;
CREATE INDEX join_links_by_visit ON join_links (visit);

-- A session belongs to the link it came from: revoking the link ends its sessions.
CREATE TABLE sessions (
    id           TEXT PRIMARY KEY,
    secret_hash  TEXT NOT NULL UNIQUE,
    link         TEXT NOT NULL REFERENCES join_links (id),
    visit        TEXT NOT NULL,
    person       TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    FOREIGN KEY (visit, person) REFERENCES visit_people (visit, person)
) STRICT;
CREATE INDEX sessions_by_link ON sessions (link, created_at);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- Ids and words only: no name, no address, no secret. seq has no gaps and is the leaf index of the coming Merkle log.
CREATE TABLE audit (
    seq      INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    actor    TEXT NOT NULL,
    role     TEXT NOT NULL,
    clinic   TEXT,
    purpose  TEXT NOT NULL,
    request  TEXT NOT NULL,
    action   TEXT NOT NULL,
    objects  TEXT NOT NULL,
    outcome  TEXT NOT NULL CHECK (outcome IN ('ok', 'denied', 'failed'))
) STRICT;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
-- REPLACE would delete without firing the trigger above unless recursive triggers are on.
CREATE TRIGGER audit_only_grows BEFORE INSERT ON audit
WHEN NEW.seq <= (SELECT COALESCE(MAX(seq), 0) FROM audit)
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

-- One row, written by the readiness check alone: says whether the disk still takes a commit.
CREATE TABLE probe (id INTEGER PRIMARY KEY CHECK (id = 1), at INTEGER NOT NULL) STRICT;
INSERT INTO probe (id, at) VALUES (1, 0);
