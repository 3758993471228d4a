CREATE TABLE meta (version INTEGER NOT NULL);
CREATE TABLE rollout (
  id INTEGER PRIMARY KEY, created TEXT NOT NULL, inventory TEXT NOT NULL, revision TEXT NOT NULL, base TEXT NOT NULL,
  who TEXT NOT NULL, why TEXT NOT NULL, spec TEXT NOT NULL, calendar TEXT NOT NULL, state TEXT NOT NULL, words TEXT NOT NULL DEFAULT '',
  since TEXT NOT NULL, abort INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE wave (
  rollout INTEGER NOT NULL REFERENCES rollout, number INTEGER NOT NULL, name TEXT NOT NULL, hosts INTEGER NOT NULL,
  state TEXT NOT NULL, since TEXT NOT NULL, words TEXT NOT NULL DEFAULT '', approved TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (rollout, number)
);
CREATE TABLE unit (
  id INTEGER PRIMARY KEY, rollout INTEGER NOT NULL, wave INTEGER NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL,
  attempt INTEGER NOT NULL DEFAULT 0, hosts TEXT NOT NULL, started TEXT NOT NULL DEFAULT '',
  ended TEXT NOT NULL DEFAULT '', FOREIGN KEY (rollout, wave) REFERENCES wave
);
CREATE INDEX unit_by_state ON unit (rollout, wave, kind, state, id);
CREATE TABLE host (
  rollout INTEGER NOT NULL, name TEXT NOT NULL, wave INTEGER NOT NULL, verdict TEXT, back TEXT, changes INTEGER,
  words TEXT NOT NULL DEFAULT '', back_words TEXT NOT NULL DEFAULT '', PRIMARY KEY (rollout, name), FOREIGN KEY (rollout, wave) REFERENCES wave
);
CREATE INDEX host_by_verdict ON host (rollout, wave, verdict);
CREATE TABLE answer (
  rollout INTEGER NOT NULL, wave INTEGER NOT NULL, gate TEXT NOT NULL, answer TEXT NOT NULL, words TEXT NOT NULL,
  at TEXT NOT NULL, PRIMARY KEY (rollout, wave, gate)
);
CREATE TABLE host_lock (name TEXT PRIMARY KEY, rollout INTEGER NOT NULL REFERENCES rollout);
CREATE TABLE audit (
  id INTEGER PRIMARY KEY, rollout INTEGER NOT NULL REFERENCES rollout, at TEXT NOT NULL, who TEXT NOT NULL,
  event TEXT NOT NULL, about TEXT NOT NULL DEFAULT ''
);
CREATE INDEX audit_by_rollout ON audit (rollout, id);

-- version 2
ALTER TABLE unit ADD COLUMN holder TEXT NOT NULL DEFAULT '';
ALTER TABLE unit ADD COLUMN busy INTEGER NOT NULL DEFAULT 0;
ALTER TABLE unit ADD COLUMN due TEXT NOT NULL DEFAULT '';
DROP INDEX unit_by_state;
CREATE INDEX unit_to_come ON unit (rollout, kind, state, wave, id);
CREATE INDEX unit_running ON unit (holder) WHERE state = 'running';
CREATE TABLE IF NOT EXISTS plan (
  rollout INTEGER NOT NULL REFERENCES rollout, name TEXT NOT NULL, plan TEXT NOT NULL, PRIMARY KEY (rollout, name)
);
CREATE TABLE machine (name TEXT PRIMARY KEY, seen TEXT NOT NULL);

-- version 3
CREATE TABLE host_report (
  rollout INTEGER NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, at TEXT NOT NULL, policies TEXT NOT NULL,
  more TEXT NOT NULL, advisories TEXT, PRIMARY KEY (rollout, name, kind)
);
CREATE TABLE newest (
  name TEXT PRIMARY KEY, rollout INTEGER NOT NULL, kind TEXT NOT NULL, verdict TEXT NOT NULL, at TEXT NOT NULL,
  proved TEXT NOT NULL
);
CREATE TABLE webhook (
  rollout INTEGER NOT NULL REFERENCES rollout, name TEXT NOT NULL, events TEXT NOT NULL, PRIMARY KEY (rollout, name)
);
CREATE TABLE outbox (
  id INTEGER PRIMARY KEY, rollout INTEGER NOT NULL, webhook TEXT NOT NULL, event TEXT NOT NULL, message TEXT NOT NULL,
  at TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, due TEXT NOT NULL,
  words TEXT NOT NULL DEFAULT '', FOREIGN KEY (rollout, webhook) REFERENCES webhook
);
CREATE INDEX outbox_by_due ON outbox (state, due);

-- version 4
ALTER TABLE rollout ADD COLUMN token TEXT NOT NULL DEFAULT '';
ALTER TABLE rollout ADD COLUMN whole INTEGER NOT NULL DEFAULT 2;
ALTER TABLE unit ADD COLUMN token TEXT NOT NULL DEFAULT '';
