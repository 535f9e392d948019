//! Patterns as in IAM policies.

use std::fmt;

use serde::Deserialize;

/// A text in which `*` stands for any characters, also for none, and `?` for one. Everything else is itself, in its case.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct Pattern(String);

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Pattern {
    pub fn matches(&self, text: &str) -> bool {
        matches(&self.0, text)
    }

    /// Whether it stands for one text only.
    pub fn is_literal(&self) -> bool {
        !self.0.contains(['*', '?'])
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The most steps that it may take to compare it with a text of so many bytes.
    pub fn steps(&self, text: usize) -> usize {
        let before = self.0.find('*').unwrap_or(self.0.len());
        // What stands between two `*` is looked for from every place of the text.
        let longest = self.0.split('*').skip(1).map(|part| part.len().saturating_add(1)).max();
        before.min(text).saturating_add(longest.unwrap_or(1).saturating_mul(text)).saturating_add(1)
    }
}

/// Whether a text is what a pattern stands for. Steps back to the last `*` only, so that no pattern takes more than the product
/// of both lengths.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // What comes after the last `*`, and the text it has not swallowed.
    let mut star = None;
    loop {
        let before = (pattern.clone(), text.clone());
        match (pattern.next(), text.next()) {
            (Some('*'), _) => {
                text = before.1;
                star = Some((pattern.clone(), text.clone()));
            }
            (Some('?'), Some(_)) => {}
            (Some(wanted), Some(there)) if wanted == there => {}
            (None, None) => return true,
            (Some(_), Some(_)) | (None, Some(_)) => {
                let Some((after, rest)) = &mut star else { return false };
                rest.next();
                (pattern, text) = (after.clone(), rest.clone());
            }
            (Some(_), None) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the definition says, in as much time as it takes.
    fn simply(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => (0..=text.len()).any(|swallowed| simply(rest, &text[swallowed..])),
            (['?', rest @ ..], [_, text @ ..]) => simply(rest, text),
            ([wanted, rest @ ..], [there, text @ ..]) => wanted == there && simply(rest, text),
            _ => false,
        }
    }

    #[test]
    fn nothing_matches_by_accident() {
        assert!(matches("*", "") && matches("", "") && matches("shop/*", "shop/") && matches("a*c*e", "abcde"));
        assert!(!matches("shop", "shop2") && !matches("shop", "Shop") && !matches("", "x") && !matches("?", ""));
        let long = "a".repeat(10_000);
        assert!(!matches(&"*a".repeat(50), &format!("{long}b")));
    }

    #[test]
    fn a_pattern_costs_what_its_longest_part_makes_of_the_text() {
        let steps = |pattern: &str, text| Pattern::from(pattern.to_owned()).steps(text);
        assert_eq!(steps("DB_*", 100), 3 + 100 + 1);
        assert_eq!(steps("*_OLD", 100), 5 * 100 + 1);
        assert_eq!(steps("password", 5), 5 + 5 + 1);
        assert!(steps(&"*a".repeat(100), 1_000) < steps(&format!("*{}", "a".repeat(100)), 1_000));
    }

    proptest! {
        #[test]
        fn what_matches_is_what_the_definition_says(pattern in "[ab*?é]{0,8}", text in "[abé]{0,8}") {
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(matches(&pattern, &text), simply(&p, &t));
        }
    }
}
