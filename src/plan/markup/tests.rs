use proptest::prelude::*;

use super::*;

fn problem(raw: &str) -> String {
    raw.parse::<Markup>().expect_err(raw).to_string()
}

#[test]
fn a11_what_nests_or_chains_deeply_is_refused_before_it_is_evaluated() {
    for hostile in [
        format!("[[ {}a{} ]]", "(".repeat(5_000), ")".repeat(5_000)),
        format!("[[ a{} ]]", "[a".repeat(5_000)),
        format!("[[ {}a ]]", "not ".repeat(4_000)),
        format!("[[ a{} ]]", ".a".repeat(8_000)),
        format!("[[ a{} ]]", "|trim".repeat(3_000)),
        format!("[[ a{} ]]", "~a".repeat(5_000)),
        format!("[[ a{} ]]", " or a".repeat(3_000)),
        format!("[[ a{} ]]", " if a else a".repeat(1_300)),
        "[% if a %]".repeat(1_500),
        "[% for a in b %]".repeat(1_000),
        "x".repeat(16 * 1024 + 1),
    ] {
        let shown = problem(&hostile);
        assert!(shown.len() < 300, "{shown}");
    }
    assert!(format!("[[ a{} ]]", "~a".repeat(45)).parse::<Markup>().is_ok());
    assert!(format!("{}{}", "[% if a %]".repeat(20), "[% endif %]".repeat(20)).parse::<Markup>().is_ok());
}

#[test]
fn a11_there_is_nothing_but_values_conditions_and_loops() {
    for hostile in [
        "[% include 'x' %]",
        "[% import 'x' as y %]",
        "[% from 'x' import y %]",
        "[% extends 'x' %]",
        "[% block x %][% endblock %]",
        "[% macro m() %][[ m() ]][% endmacro %]",
        "[% call m() %][% endcall %]",
        "[% for x in range(100000000) %][% endfor %]",
        "[[ range(10) ]]",
        "[[ 'a' * 100000000 ]]",
        "[[ 1 + 1 ]]",
        "[[ env('HOME') ]]",
        "[[ files.items() ]]",
        "[[ x.__class__() ]]",
        "[[ lookup('file', 'x') ]]",
        "[[ ['a'] ]]",
        "[[ {} ]]",
        "[% while true %][% endwhile %]",
        "[% set loop = 1 %]",
        "[% set files = 1 %]",
    ] {
        assert!(hostile.parse::<Markup>().is_err(), "{hostile}");
    }
}

#[test]
fn mistakes_are_told_with_their_line() {
    for (raw, shown) in [
        ("a\n[[ ]]", "does not parse at line 2: a value is missing before \"]\""),
        ("\n\n[[", "does not parse at line 3: it ends within a tag"),
        ("[[ 'a ]]", "does not parse at line 1: quotes are not closed"),
        (
            "[[ '\\x' ]]",
            "does not parse at line 1: a backslash in quotes stands before n, r, t, a quote or a backslash",
        ),
        ("[[ 99999999999 ]]", "does not parse at line 1: a number is too large"),
        ("[[ a.1 ]]", "does not parse at line 1: a name is missing behind `.`"),
        ("[[ a is b ]]", "does not parse at line 1: `is` needs `defined`, or `not defined`"),
        ("[[ if ]]", "does not parse at line 1: a value is missing before `if`"),
        ("[# a", "does not parse at line 1: `[#` is not closed with `#]`"),
        ("[% raw %]a", "does not parse at line 1: `raw` is not closed with `endraw`"),
        ("[% endfor %]", "does not parse at line 1: `endfor` has no beginning"),
        (
            "\n[% for a in b %]\n[% endif %]",
            "does not parse at line 2: `for` is closed with `endfor`, and not with `endif`",
        ),
        ("[% for in in b %]", "does not parse at line 1: \"in\" cannot be a name"),
        ("[% for a of b %]", "does not parse at line 1: `for` needs a name, or two with a comma, then `in`"),
        ("[% frob %]", "does not parse at line 1: \"frob\" is no statement; there are if, for, set and raw"),
    ] {
        assert_eq!(problem(raw), shown, "{raw}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(
        raw in "(\\[\\[|\\]\\]|\\[%|%\\]|\\[#|#\\]|-| |\n|if|for|in|else|endif|endfor|elif|raw|endraw|set|not|is|defined|[a-z.,()|~'\"=!\\[\\]0-9\\\\]|\\PC){0,40}"
    ) {
        if let Ok(markup) = raw.parse::<Markup>() {
            prop_assert!(!markup.parts().is_empty() || raw.is_empty() || raw.contains('['), "{}", raw);
        }
    }

    #[test]
    fn text_without_tags_is_kept(raw in "([a-z {}$%#\\]\n]|\\PC){0,60}") {
        prop_assume!(!raw.contains("[[") && !raw.contains("[%") && !raw.contains("[#"));
        let parts = raw.parse::<Markup>().expect("text").parts();
        let expected = if raw.is_empty() { vec![] } else { vec![Part::Text(raw)] };
        prop_assert_eq!(parts, expected);
    }
}
