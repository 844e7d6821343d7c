//! Where the values are to go: a shift or a target, as words on the command line, a file, or JSON.

use std::path::Path;

use anyhow::{Context, bail};
use visa_align::NamedProfile;
use visa_values::{Profile, Shift, Target};

/// Words of `--shift`, split from a text that follows them: `--shift power=-0.5 tradition=+0.8 "The text"`.
///
/// The argument parser cannot know where the list ends; a word with `=` right behind a name is a shift, and the first
/// other word is the text.
pub(crate) fn split_shift(words: Vec<String>) -> anyhow::Result<(Option<Shift>, Option<String>)> {
    let mut shifts = Vec::new();
    let mut text = None;
    for word in words {
        if text.is_none() && looks_like_shift(&word) {
            shifts.push(word);
        } else if text.is_none() {
            text = Some(word);
        } else {
            bail!(
                "unexpected {word:?} after the text; quote a text of several words, and put shifts before it"
            );
        }
    }
    if shifts.is_empty() {
        bail!("--shift wants value=±x, for example --shift tradition=+0.8 power=-0.5");
    }
    let shift = Shift::parse(&shifts.join(", ")).context("--shift")?;
    Ok((Some(shift), text))
}

fn looks_like_shift(word: &str) -> bool {
    let name = word.split(['=', ':']).next().unwrap_or_default();
    name.len() < word.len()
        && !name.is_empty()
        && name.chars().all(|c| c.is_alphabetic() || "-_ ".contains(c))
        && word[name.len() + 1..].trim_start().starts_with(|c: char| {
            "+-.\u{2212}".contains(c) || c.is_ascii_digit() || c.is_alphabetic()
        })
        && !name.contains(' ')
}

/// A profile as JSON, as `value=x, …`, or in a file that holds either or a profile that `visa profile` wrote.
pub(crate) fn profile(option: &str, given: &str) -> anyhow::Result<Profile> {
    let NamedProfile {
        target,
        persona,
        shift,
        ..
    } = named(option, given)?;
    let what = match (target, persona, shift) {
        (Some(target), ..) => return Ok(target),
        (_, Some(_), _) => {
            "a persona; pass it by --persona, or make values of it: visa profile words"
        }
        _ => "a shift; pass it by --shift",
    };
    bail!(
        "{option} {}: the profile holds no ten values, but {what}",
        short(given)
    )
}

/// As [`profile`], with everything that is known of it.
pub(crate) fn named(option: &str, given: &str) -> anyhow::Result<NamedProfile> {
    let wrong = || format!("{option} {}", short(given));
    let plain = |profile| NamedProfile {
        target: Some(profile),
        ..NamedProfile::default()
    };
    if given.trim_start().starts_with('{') {
        return json(given).with_context(wrong);
    }
    let path = Path::new(given);
    if path.is_file() {
        let text = std::fs::read_to_string(path).with_context(wrong)?;
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.starts_with('{') {
            return json(text).with_context(wrong);
        }
        // `tradition = 0.8` alone is TOML too, and a profile as it stands.
        return match Profile::parse(text) {
            Ok(profile) => Ok(plain(profile)),
            Err(error) if !looks_like_file(path, text) => Err(error).with_context(wrong),
            Err(_) => NamedProfile::from_toml(text).with_context(wrong),
        };
    }
    if given.contains('=') {
        return Profile::parse(given).map(plain).with_context(wrong);
    }
    bail!(
        "{option} {}: neither a file, nor JSON such as {{\"tradition\": 0.8}}, nor value=x such as tradition=0.8",
        short(given)
    )
}

/// Ten values, or a profile as the server tells it.
fn json(text: &str) -> anyhow::Result<NamedProfile> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)?;
    if ["target", "persona", "shift"]
        .iter()
        .any(|k| object.contains_key(*k))
    {
        let named: NamedProfile = serde_json::from_str(text)?;
        named.goal()?;
        return Ok(named);
    }
    Ok(NamedProfile {
        target: Some(serde_json::from_str(text)?),
        ..NamedProfile::default()
    })
}

/// Whether a file means to be a profile file: by its name, or by a table or a key of one.
fn looks_like_file(path: &Path, text: &str) -> bool {
    let keys = [
        "[target]",
        "[shift]",
        "[uncertainty]",
        "persona",
        "name",
        "about",
    ];
    path.extension().is_some_and(|e| e == "toml")
        || text
            .lines()
            .any(|l| keys.iter().any(|k| l.trim_start().starts_with(k)))
}

/// As [`profile`], as a target.
pub(crate) fn target(given: &str) -> anyhow::Result<Target> {
    profile("--target", given).map(Target::new)
}

fn short(text: &str) -> String {
    let start: String = text.chars().take(60).collect();
    if start.len() < text.len() {
        format!("{start}…")
    } else {
        start
    }
}

#[cfg(test)]
mod tests {
    use visa_values::Value;

    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|w| (*w).to_string()).collect()
    }

    #[test]
    fn a_text_after_the_shifts_is_the_text() {
        let (shift, text) = split_shift(words(&["tradition=+0.8", "power=-0.5", "The a=b case."]))
            .expect("good words");
        let shift = shift.expect("two shifts");
        assert_eq!(
            (shift.get(Value::Tradition), shift.get(Value::Power)),
            (0.8, -0.5)
        );
        assert_eq!(text.as_deref(), Some("The a=b case."));
        let (_, text) = split_shift(words(&["tradition=0.8,power=-0.5"])).expect("one word");
        assert_eq!(text, None);
    }

    #[test]
    fn wrong_shifts_say_what_is_wrong() {
        let check = |list: &[&str], part: &str| {
            let error = format!("{:#}", split_shift(words(list)).expect_err("wrong"));
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        };
        check(&["tradtion=+0.8"], "did you mean \"tradition\"");
        check(&["tradition=+2.5"], "between -2 and 2");
        check(&["tradition=nan"], "not a finite number");
        check(&["tradition=much"], "name=number");
        check(&["The text only"], "--shift wants");
        check(&["power=1", "one", "two"], "unexpected \"two\"");
    }

    #[test]
    fn a_profile_is_json_words_or_a_file() {
        let check = |given: &str| {
            let p = profile("--target", given).expect("a good profile");
            assert_eq!(p.get(Value::Tradition), 0.8, "{given}");
        };
        check("{\"tradition\": 0.8}");
        check("tradition=0.8, power=-0.5");
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("t.json");
        std::fs::write(&file, "\u{feff}{\"tradition\": 0.8}\n").expect("written");
        check(file.to_str().expect("a UTF-8 path"));
        let file = dir.path().join("t.toml");
        for text in [
            "tradition = 0.8\n",
            "about = \"x\"\n[target]\ntradition = 0.8\n",
        ] {
            std::fs::write(&file, text).expect("written");
            check(file.to_str().expect("a UTF-8 path"));
        }
        check("{\"name\": \"x\", \"target\": {\"tradition\": 0.8}}");
    }

    #[test]
    fn wrong_profiles_say_what_is_wrong() {
        let check = |given: &str, part: &str| {
            let error = format!("{:#}", profile("--target", given).expect_err("wrong"));
            assert!(
                error.contains(part) && error.contains("--target"),
                "{error:?} lacks {part:?}"
            );
        };
        check("{\"tradition\": 1.8}", "between -1 and 1");
        check("{\"traditoin\": 0.8}", "did you mean \"tradition\"");
        check("{\"tradition\": NaN}", "expected value");
        check("nowhere.json", "neither a file");
        check("{\"persona\": \"someone\"}", "pass it by --persona");
        check("{\"shift\": {\"power\": -1}}", "pass it by --shift");
    }
}
