//! What a request wishes: where values go, and how its answer is treated.
//!
//! Said by, the first that speaks counts: the body's `visa` member (clients send it by `extra_body`), a header, the
//! route, the user or team, the server's configuration. A request names profiles and values, never paths or addresses.

use axum::http::HeaderMap;
use serde::Deserialize;
use visa_align::{Goal, record};
use visa_values::{Profile, Shift};

use crate::app::App;
use crate::error::ApiError;
use crate::native;
use crate::options::{Mode, OnError};

/// The `visa` member of a body.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Control {
    persona: Option<String>,
    target: Option<Profile>,
    shift: Option<Shift>,
    profile: Option<String>,
    mode: Option<Mode>,
    on_error: Option<OnError>,
    user: Option<String>,
    team: Option<String>,
}

/// What is done with the answers of one request.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) mode: Mode,
    pub(crate) on_error: OnError,
    /// Where values go; always there in hold mode.
    pub(crate) goal: Option<Goal>,
    /// The named profile that says so, where one does.
    pub(crate) profile: Option<String>,
}

impl Control {
    /// The user and team that another format names, where none is named here.
    pub(crate) fn or_member(mut self, user: Option<&str>, team: Option<&str>) -> Self {
        self.user = self.user.or_else(|| user.map(str::to_string));
        self.team = self.team.or_else(|| team.map(str::to_string));
        self
    }

    /// The goal or profile that is said here; both is one too many.
    fn goal(&self) -> Result<Said, ApiError> {
        let goal = record::goal(
            self.persona.as_deref(),
            self.target.as_ref(),
            self.shift.as_ref(),
        )?;
        match (goal, &self.profile) {
            (Some(_), Some(_)) => Err(ApiError::bad(
                "a profile and another goal are both given; give one of them",
            )),
            (Some(goal), None) => Ok(Said::Goal(goal)),
            (None, Some(name)) => Ok(Said::Profile(name.clone())),
            (None, None) => Ok(Said::Nothing),
        }
    }

    /// The same things said by headers.
    fn of_headers(headers: &HeaderMap) -> Result<Self, ApiError> {
        let text = |name: &'static str| -> Result<Option<String>, ApiError> {
            headers
                .get(name)
                .map(|value| {
                    let text = std::str::from_utf8(value.as_bytes())
                        .map_err(|_| ApiError::bad(format!("the header {name} is not UTF-8")))?;
                    Ok(text.to_string())
                })
                .transpose()
        };
        let named = |name: &'static str, error: &dyn std::fmt::Display| {
            ApiError::bad(format!("the header {name}: {error}"))
        };
        fn word<T: serde::de::DeserializeOwned>(text: String) -> serde_json::Result<T> {
            serde_json::from_value(serde_json::Value::String(text))
        }
        let target = text("x-visa-target")?
            .map(|t| {
                if t.trim_start().starts_with('{') {
                    serde_json::from_str(&t).map_err(|e| named("x-visa-target", &e))
                } else {
                    Profile::parse(&t).map_err(|e| named("x-visa-target", &e))
                }
            })
            .transpose()?;
        let shift = text("x-visa-shift")?
            .map(|t| {
                if t.trim_start().starts_with('{') {
                    serde_json::from_str(&t).map_err(|e| named("x-visa-shift", &e))
                } else {
                    native::shift_of(&t).map_err(|e| named("x-visa-shift", &e.message))
                }
            })
            .transpose()?;
        Ok(Self {
            persona: text("x-visa-persona")?,
            target,
            shift,
            profile: text("x-visa-profile")?,
            mode: text("x-visa-mode")?
                .map(|t| word(t).map_err(|e| named("x-visa-mode", &e)))
                .transpose()?,
            on_error: text("x-visa-on-error")?
                .map(|t| word(t).map_err(|e| named("x-visa-on-error", &e)))
                .transpose()?,
            user: text("x-visa-user")?,
            team: text("x-visa-team")?,
        })
    }
}

enum Said {
    Goal(Goal),
    Profile(String),
    Nothing,
}

/// Brings together all that speaks. `user` is the body's own field of that name.
pub(crate) async fn wish(
    app: &App,
    body: Control,
    headers: &HeaderMap,
    route: Option<&str>,
    user: Option<&str>,
) -> Result<Wish, ApiError> {
    let header = Control::of_headers(headers)?;
    let explicit = body.mode.or(header.mode);
    let mut mode = explicit.unwrap_or(app.options.proxy.mode);
    let on_error = body
        .on_error
        .or(header.on_error)
        .unwrap_or(app.options.proxy.on_error);
    if mode == Mode::Off {
        return Ok(Wish {
            mode,
            on_error,
            goal: None,
            profile: None,
        });
    }
    let route = route.map_or(Said::Nothing, |name| Said::Profile(name.to_string()));
    let mut found = None;
    for said in [body.goal()?, header.goal()?, route] {
        match said {
            Said::Nothing => continue,
            Said::Goal(goal) => found = Some((goal, None)),
            Said::Profile(name) => {
                let named = native::find(app, &name).await?;
                found = Some((named.goal()?, Some(name)));
            }
        }
        break;
    }
    if found.is_none() {
        let user = body.user.as_deref().or(header.user.as_deref()).or(user);
        let team = body.team.as_deref().or(header.team.as_deref());
        if (user.is_some() || team.is_some())
            && let Some(named) = app.profiles.chosen(user, team).await?
        {
            found = Some((named.goal()?, Some(named.name)));
        }
    }
    let (goal, profile) = match found {
        Some((goal, profile)) => (Some(goal), profile),
        None => (app.options.proxy.goal.clone(), None),
    };
    if goal.is_none() && mode == Mode::Hold {
        if explicit.is_some() {
            return Err(ApiError::bad(
                "mode hold needs to know where the values should go; give \"persona\", \"target\", \"shift\" or \"profile\"",
            ));
        }
        // Nobody wished anything: the answer is measured, which the outcome says.
        mode = Mode::Audit;
    }
    Ok(Wish {
        mode,
        on_error,
        goal,
        profile,
    })
}
