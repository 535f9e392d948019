//! The YAML inside a class, read within a budget and as Go's parser reads it where people rely on that.
//!
//! The last of two equal keys wins, merge keys work, `null` is absent, scalars keep their spelling. Bombs of aliases, depth
//! or size end at the budget. The error never quotes the document.

use serde::de::DeserializeOwned;

/// Longest part of a parser's message that is passed on.
const MAX_MESSAGE: usize = 200;

/// Reads one document.
///
/// # Errors
/// What is wrong and where, in one short line.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let options = serde_yaml::options! {
        with_snippet: false,
        duplicate_keys: serde_yaml::options::DuplicateKeyPolicy::LastWins,
        // Room for the most objects with every key; the text itself has been capped before.
        budget: serde_yaml::budget! {
            max_events: 60_000, max_nodes: 30_000, max_aliases: 600, max_anchors: 200, max_depth: 16, max_documents: 1,
            max_total_scalar_bytes: 512 * 1024, max_merge_keys: 600,
        },
    };
    serde_yaml::from_str_with_options(text, options).map_err(|error| {
        let message = error.to_string();
        let line = message.lines().next().unwrap_or_default();
        line.chars().take(MAX_MESSAGE).collect()
    })
}

/// Line and column, both from 1, that the end of an error of [`read`] names.
pub fn position(error: &str) -> Option<(usize, usize)> {
    let (_, place) = error.rsplit_once("at line ")?;
    let (line, column) = place.split_once(", column ")?;
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    Some((digits(line)?, digits(column)?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::de::IgnoredAny;

    use super::*;

    type Text = BTreeMap<String, Option<String>>;

    #[test]
    fn scalars_keep_their_spelling_and_the_last_key_wins() {
        let read: Text = read("a: 1.10\nb: 0644\nc: yes\nd: null\ne: 1\ne: 2\n").expect("valid");
        let of = |key: &str| read.get(key).and_then(|value| value.as_deref());
        assert_eq!(
            (of("a"), of("b"), of("c"), of("d"), of("e")),
            (Some("1.10"), Some("0644"), Some("yes"), None, Some("2"))
        );
    }

    #[test]
    fn merge_keys_are_merged() {
        let read: Vec<Text> = read("- &base {a: x, b: y}\n- {<<: *base, b: z}\n").expect("valid");
        assert_eq!(read[1].get("a"), Some(&Some("x".into())));
        assert_eq!(read[1].get("b"), Some(&Some("z".into())));
    }

    #[test]
    fn an_error_says_where() {
        for (text, at) in [("a: x\nb: [x", (2, 4)), ("a: 1\nb: [x]", (2, 4)), ("a: 1\n\tb: 2", (1, 4))] {
            let error = read::<Text>(text).expect_err(text);
            assert_eq!(position(&error), Some(at), "{error}");
        }
        assert_eq!(position("at line x, column 3"), None);
    }

    #[test]
    fn a09_bombs_are_refused() {
        let mut laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
        for level in 1..10 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            laughs += &format!("a{level}: &a{level} [{aliases}]\n");
        }
        let anchor = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), vec!["*a"; 5000].join(","));
        for bomb in [laughs, anchor, "[".repeat(40_000), "--- 1\n".repeat(100)] {
            assert!(read::<IgnoredAny>(&bomb).is_err());
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(raw in "([-a-z:{}\\[\\]&*<>|!%@`'\"#, \\n\\t0-9]|\\PC){0,120}") {
            let _ = read::<IgnoredAny>(&raw);
            let _ = read::<Text>(&raw);
        }
    }
}
