-- What a visit was like, in numbers, one row for each participant. No name, address or text of anybody: `record` is the JSON that the
-- live visits made, of numbers and words from closed sets.
CREATE TABLE visit_quality (
    visit        TEXT NOT NULL REFERENCES visits (id),
    participant  TEXT NOT NULL,
    role         TEXT NOT NULL CHECK (role IN ('clinician', 'patient', 'guest')),
    culprit      TEXT NOT NULL,
    started_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    record       TEXT NOT NULL,
    PRIMARY KEY (visit, participant)
) STRICT;
CREATE INDEX visit_quality_by_update ON visit_quality (updated_at, visit, participant);

-- Who may look after the machine. The token is the operator: there is no person behind it.
CREATE TABLE operators (
    id           TEXT PRIMARY KEY,
    secret_hash  TEXT NOT NULL UNIQUE,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX operators_by_expiry ON operators (expires_at);
