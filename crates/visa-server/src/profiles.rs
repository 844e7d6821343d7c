//! Named goals, kept in one SQLite file, and the users and teams that have chosen one.
//!
//! Every call goes to the file, so that another program may write it while the server runs. Calls are short and run
//! outside the async threads.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use visa_align::person::NAME_BYTES;
pub(crate) use visa_align::person::{NamedProfile as Named, is_name};
use visa_values::{Profile, Shift};

use crate::app::now;
use crate::error::{ApiError, ServerError};

/// Most users or teams of one profile.
const MEMBERS: usize = 4096;
/// Most profiles in a store that the server itself fills.
const PROFILES: usize = 10_000;

/// Whether the store takes it.
fn check(named: &Named) -> Result<(), ApiError> {
    if !is_name(&named.name) {
        return Err(ApiError::bad(format!(
            "{:?} is no profile name; use up to {NAME_BYTES} letters, digits, dots, hyphens and underscores",
            named.name
        )));
    }
    named.goal()?;
    if named.users.len() + named.teams.len() > MEMBERS {
        return Err(ApiError::too_large(format!(
            "a profile has at most {MEMBERS} users and teams"
        )));
    }
    let longest = named
        .users
        .iter()
        .chain(&named.teams)
        .map(String::len)
        .max()
        .unwrap_or(0);
    if longest > 256 || named.about.len() > 4096 {
        return Err(ApiError::too_large(
            "an id has at most 256 bytes, and the words about a profile at most 4096",
        ));
    }
    Ok(())
}

/// The store. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Store(Arc<Mutex<Connection>>);

impl Store {
    /// Opens or makes the file; in memory without one.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, ServerError> {
        let shown = path.unwrap_or_else(|| Path::new("memory"));
        let wrong = |problem: &dyn std::fmt::Display| ServerError::Profiles {
            path: shown.to_path_buf(),
            problem: problem.to_string(),
        };
        if let Some(folder) = path
            .and_then(Path::parent)
            .filter(|p| !p.as_os_str().is_empty())
        {
            std::fs::create_dir_all(folder).map_err(|e| wrong(&e))?;
        }
        let connection = match path {
            Some(path) => Connection::open(path),
            None => Connection::open_in_memory(),
        }
        .map_err(|e| wrong(&e))?;
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL;
                 PRAGMA busy_timeout = 2000;
                 PRAGMA foreign_keys = ON;
                 CREATE TABLE IF NOT EXISTS profiles (
                     name TEXT PRIMARY KEY, goal TEXT NOT NULL, about TEXT NOT NULL, updated INTEGER NOT NULL);
                 CREATE TABLE IF NOT EXISTS members (
                     kind TEXT NOT NULL CHECK (kind IN ('user', 'team')), id TEXT NOT NULL,
                     profile TEXT NOT NULL REFERENCES profiles (name) ON DELETE CASCADE, PRIMARY KEY (kind, id));",
            )
            .map_err(|e| wrong(&e))?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// All profiles by name.
    pub(crate) async fn all(&self) -> Result<Vec<Named>, ApiError> {
        self.with(|connection| {
            let mut names = connection.prepare_cached("SELECT name FROM profiles ORDER BY name")?;
            let names: Vec<String> = names
                .query_map([], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            let mut all = Vec::with_capacity(names.len());
            for name in names {
                all.extend(get(connection, &name)?);
            }
            Ok(all)
        })
        .await
    }

    /// The profile of this name.
    pub(crate) async fn get(&self, name: &str) -> Result<Option<Named>, ApiError> {
        let name = name.to_string();
        self.with(move |connection| get(connection, &name)).await
    }

    /// The profile that a user chose, or else the team.
    pub(crate) async fn chosen(
        &self,
        user: Option<&str>,
        team: Option<&str>,
    ) -> Result<Option<Named>, ApiError> {
        let ids = [("user", user), ("team", team)].map(|(kind, id)| (kind, id.map(str::to_string)));
        self.with(move |connection| {
            for (kind, id) in ids {
                let Some(id) = id else { continue };
                let name: Option<String> = connection
                    .prepare_cached("SELECT profile FROM members WHERE kind = ?1 AND id = ?2")?
                    .query_row(params![kind, id], |row| row.get(0))
                    .optional()?;
                if let Some(name) = name {
                    return get(connection, &name);
                }
            }
            Ok(None)
        })
        .await
    }

    /// Writes a profile, in place of one of the same name. A user or team that had chosen another now has this one.
    pub(crate) async fn put(&self, mut named: Named) -> Result<Named, ApiError> {
        check(&named)?;
        named.updated = Some(now());
        let full = self
            .with({
                let named = named.clone();
                move |connection| {
                    let change = connection.transaction()?;
                    let others: usize = change.query_row(
                        "SELECT count(*) FROM profiles WHERE name <> ?1",
                        [&named.name],
                        |row| row.get(0),
                    )?;
                    if others >= PROFILES {
                        return Ok(true);
                    }
                    write(&change, &named)?;
                    change.commit()?;
                    Ok(false)
                }
            })
            .await?;
        if full {
            return Err(ApiError::too_large(format!(
                "the store holds {PROFILES} profiles, which is all it takes; delete some"
            )));
        }
        Ok(named)
    }

    /// Deletes a profile; whether there was one.
    pub(crate) async fn delete(&self, name: &str) -> Result<bool, ApiError> {
        let name = name.to_string();
        self.with(move |connection| {
            Ok(connection.execute("DELETE FROM profiles WHERE name = ?1", [name])? > 0)
        })
        .await
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ApiError> {
        let this = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || {
            // SQLite rolls back what a panic left open.
            work(&mut this.lock().unwrap_or_else(PoisonError::into_inner))
        })
        .await;
        match done {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                tracing::error!(%error, "the store of profiles");
                Err(ApiError::internal(
                    "the store of profiles failed; the server's log says more",
                ))
            }
            Err(_) => Err(ApiError::internal("the store of profiles failed")),
        }
    }
}

/// The goal's column: one of the three and what is known of it, as JSON.
#[derive(Serialize, Deserialize)]
struct Column {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    persona: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<Profile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shift: Option<Shift>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uncertainty: Option<Profile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    texts: Option<u32>,
}

fn write(connection: &Connection, named: &Named) -> rusqlite::Result<()> {
    let goal = serde_json::to_string(&Column {
        persona: named.persona.clone(),
        target: named.target.clone(),
        shift: named.shift.clone(),
        uncertainty: named.uncertainty.clone(),
        texts: named.texts,
    })
    .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
    connection.execute(
        "INSERT INTO profiles (name, goal, about, updated) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (name) DO UPDATE SET goal = ?2, about = ?3, updated = ?4",
        params![named.name, goal, named.about, named.updated],
    )?;
    connection.execute("DELETE FROM members WHERE profile = ?1", [&named.name])?;
    for (kind, ids) in [("user", &named.users), ("team", &named.teams)] {
        for id in ids {
            connection.execute(
                "INSERT OR REPLACE INTO members (kind, id, profile) VALUES (?1, ?2, ?3)",
                params![kind, id, named.name],
            )?;
        }
    }
    Ok(())
}

fn get(connection: &Connection, name: &str) -> rusqlite::Result<Option<Named>> {
    let row = connection
        .prepare_cached("SELECT goal, about, updated FROM profiles WHERE name = ?1")?
        .query_row([name], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, u64>(2)?,
            ))
        })
        .optional()?;
    let Some((goal, about, updated)) = row else {
        return Ok(None);
    };
    let column: Column = serde_json::from_str(&goal).map_err(|e| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(e))
    })?;
    let members = |kind: &str| -> rusqlite::Result<Vec<String>> {
        connection
            .prepare_cached("SELECT id FROM members WHERE profile = ?1 AND kind = ?2 ORDER BY id")?
            .query_map(params![name, kind], |row| row.get(0))?
            .collect()
    };
    Ok(Some(Named {
        name: name.to_string(),
        persona: column.persona,
        target: column.target,
        shift: column.shift,
        uncertainty: column.uncertainty,
        texts: column.texts,
        about,
        users: members("user")?,
        teams: members("team")?,
        updated: Some(updated),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(json: &str) -> Named {
        serde_json::from_str(json).expect("a profile")
    }

    #[tokio::test]
    async fn what_was_put_is_found_by_name_user_and_team_after_a_restart() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a/profiles.sqlite");
        let store = Store::open(Some(&path)).expect("made");
        let first =
            named(r#"{"name":"care","target":{"benevolence":0.8},"users":["u1"],"teams":["t"]}"#);
        let second = named(r#"{"name":"bold","persona":"a daring climber","users":["u2"]}"#);
        store.put(first.clone()).await.expect("put");
        store.put(second).await.expect("put");
        drop(store);
        let store = Store::open(Some(&path)).expect("opened");
        let names: Vec<String> = store
            .all()
            .await
            .expect("all")
            .into_iter()
            .map(|n| n.name)
            .collect();
        assert_eq!(names, ["bold", "care"]);
        let check = async |user: Option<&str>, team: Option<&str>, expected: Option<&str>| {
            let found = store.chosen(user, team).await.expect("looked");
            assert_eq!(
                found.as_ref().map(|n| n.name.as_str()),
                expected,
                "{user:?} {team:?}"
            );
        };
        check(Some("u1"), None, Some("care")).await;
        check(Some("u2"), Some("t"), Some("bold")).await;
        check(Some("stranger"), Some("t"), Some("care")).await;
        check(Some("stranger"), None, None).await;
        let found = store.get("care").await.expect("looked").expect("there");
        assert_eq!((found.target, found.users), (first.target, first.users));
        assert!(store.delete("care").await.expect("deleted"));
        check(Some("u1"), Some("t"), None).await;
        assert!(!store.delete("care").await.expect("looked"));
    }

    #[tokio::test]
    async fn what_is_no_profile_is_refused() {
        let store = Store::open(None).expect("memory");
        for (json, part) in [
            (r#"{"name":"../etc","persona":"x"}"#, "no profile name"),
            (r#"{"name":"","persona":"x"}"#, "no profile name"),
            (r#"{"name":"a"}"#, "says nothing"),
            (r#"{"name":"a","persona":"x","shift":{}}"#, "more than one"),
        ] {
            let error = store.put(named(json)).await.expect_err(json);
            assert!(
                error.message.contains(part),
                "{} lacks {part:?}",
                error.message
            );
        }
        assert!(store.all().await.expect("all").is_empty());
    }
}
