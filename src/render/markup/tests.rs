use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::plan::{FilePermission, Markup, Owner};

fn files(contents: &[(&str, &str)]) -> Files {
    let file = |content: &str| File {
        permission: FilePermission::from_mode(0o644).0,
        owner: Owner::default(),
        content: content.to_owned().into(),
        version: "v".into(),
    };
    contents.iter().map(|(path, content)| (path.parse().expect("a path"), file(content))).collect()
}

fn filled_within(markup: &str, of_class: &Files, limit: usize) -> Result<String, Unfilled> {
    let parts = markup.parse::<Markup>().unwrap_or_else(|error| panic!("{markup}: {error}")).parts();
    let mut budget = Budget::of_a_mount();
    let (text, _) = Filler::new(of_class.keys().collect(), of_class, &mut budget, limit).fill(&parts)?;
    Ok(String::from_utf8(text.expose().to_vec()).expect("text"))
}

fn filled(markup: &str, contents: &[(&str, &str)]) -> Result<String, Unfilled> {
    filled_within(markup, &files(contents), 1 << 20)
}

fn problem(markup: &str, contents: &[(&str, &str)]) -> Problem {
    filled(markup, contents).expect_err(markup).problem
}

#[test]
fn a11_loops_and_texts_that_multiply_end_at_the_budget() {
    let list = format!("[{}1]", "1,".repeat(9_999));
    let word = "x".repeat(60_000);
    let contents = [("list", &*list), ("word", &word)];
    let doubled = "[% set w = w ~ w %]".repeat(40);
    let nested = |body: &str| {
        let open = "[% for a in json(list) %]".repeat(8);
        format!("{open}{body}{}", "[% endfor %]".repeat(8))
    };
    for hostile in [
        nested(""),
        nested("x"),
        format!("[% set w = word %]{doubled}"),
        format!("[% set w = word %][% for a in json(list) %]{doubled}[% endfor %]"),
        "[% for a in json(list) %][[ word | replace('x', word) ]][% endfor %]".into(),
        "[% for a in json(list) %][% set b = word | upper | lower | b64encode %][% endfor %]".into(),
        "[% for a in json(list) %][% set b = word | split('x') %][% endfor %]".into(),
        "[% for a in json(list) %][% set b = word | urlEncode | quote %][% endfor %]".into(),
        "[% for a in json(list) %][% set b = json(list | trim) %][% endfor %]".into(),
        "[% for a in json(list) %][% if 1.5 in json(list) %][% endif %][% endfor %]".replace("1.5", "2"),
        "[% for a in json(list) %][% if 'y' in word %][% endif %][% endfor %]".into(),
        "[% for a in json(list) %][% if word == word ~ '' %][% endif %][% endfor %]".into(),
        "[% for a in json(list) %][% set b = toJson(files) %][% endfor %]".into(),
        "[[ json(list) | join(word) ]]".into(),
        "[[ word | split('x') | join(word) ]]".into(),
        "[% set b = word ~ '\n' %][[ b | replace('x', '\n.') | indent(100) ]]".into(),
    ] {
        assert!(problem(&hostile, &contents).is_limit(), "{hostile:.80}");
    }
    // Nobody is told what else there is, a thousand times over.
    let many: Vec<String> = (0..1_000).map(|number| format!("{number:04}-{}", "x".repeat(50))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|path| (path.as_str(), "1")).chain(contents).collect();
    let missing = format!("[% for a in json(list) %]{}[% endfor %]", "[[ y | default('') ]]".repeat(20));
    assert!(filled(&missing, &many).is_ok());
    // What is of every day does not.
    assert!(filled("[% for a in json(list) %][[ a ]],[% endfor %]", &contents).is_ok());
    let pair = "[[ word | b64encode ]][[ word | toJson ]][[ word | trim | upper ]]";
    assert!(filled(pair, &contents).is_ok());
}

#[test]
fn a11_the_deepest_that_parses_fits_on_a_quarter_of_a_stack() {
    let nested = |open: &str, inner: &str, close: &str| {
        let deepest = (1..).map(|depth| format!("{}{inner}{}", open.repeat(depth), close.repeat(depth)));
        deepest.take_while(|markup| markup.parse::<Markup>().is_ok()).last().expect("some parse")
    };
    let chain = format!("[[ a{} ]]", " ~ a".repeat(49));
    for deepest in [
        nested("[% if a %]", &chain, "[% endif %]"),
        nested("[% for b in files %]", &chain, "[% endfor %]"),
        nested("[% if (((((((a ~ a ~ a))))))) %]", &chain, "[% endif %]"),
        format!("[[ a{} ]]", " | trim".repeat(99)),
        format!("[[ {}a ]]", "not ".repeat(22)),
        format!("[[ x{} ]]", " | default(a)".repeat(49)),
        format!("[[ {}a{} ]]", "x | default(".repeat(22), ")".repeat(22)),
    ] {
        let run = move || filled(&deepest, &[("a", "1")]).map(drop);
        let thread = std::thread::Builder::new().stack_size(1 << 19).spawn(run).expect("a thread");
        thread.join().expect("no overflow").expect("filled");
    }
}

#[test]
fn a11_what_is_written_ends_at_the_limit_of_its_file() {
    let of_class = files(&[("word", "0123456789")]);
    assert_eq!(filled_within("[[ word ]]", &of_class, 10).expect("fits"), "0123456789");
    for markup in ["[[ word ]]x", "x[[ word ]]", "[% for a in files %][[ word ]]x[% endfor %]"] {
        assert_eq!(filled_within(markup, &of_class, 10).expect_err(markup).problem, Problem::TooLarge);
    }
}

#[test]
fn a11_a_template_sees_nothing_but_its_files() {
    for name in ["env", "self", "loop", "config", "PATH", "__class__", "varargs", "caller", "debug", "namespace"] {
        assert!(matches!(problem(&format!("[[ {name} ]]"), &[]), Problem::NoFile { .. }), "{name}");
    }
    for member in ["[[ word.content ]]", "[[ word.expose ]]", "[[ word[0] ]]", "[[ true.x ]]", "[[ 1.x ]]"] {
        assert!(matches!(problem(member, &[("word", "w")]), Problem::WrongKind(_)), "{member}");
    }
    for path in ["../word", "/etc/passwd", "a/../word", ""] {
        let markup = format!("[[ files[\"{path}\"] ]]");
        assert!(matches!(problem(&markup, &[("word", "w")]), Problem::NoFile { .. }), "{markup}");
    }
    let of_class = files(&[("seen", "1"), ("hidden", "2")]);
    let parts = "[[ seen ]][[ hidden | default('-') ]][% for path, text in files %][[ path ]][% endfor %]"
        .parse::<Markup>()
        .expect("valid")
        .parts();
    let taken = of_class.keys().filter(|path| path.as_str() == "seen").collect();
    let mut budget = Budget::of_a_mount();
    let (text, used) = Filler::new(taken, &of_class, &mut budget, 100).fill(&parts).expect("filled");
    assert_eq!((text.expose(), used.len()), (&b"1-seen"[..], 1));
}

#[test]
fn only_what_is_looked_at_counts_for_the_version() {
    let of_class = files(&[("a", "1"), ("b", "2"), ("c", "3")]);
    for (markup, used) in [
        ("text", 0),
        ("[[ a ]]", 1),
        ("[[ a if true else b ]]", 1),
        ("[% if 'b' in files %][[ a ]][% endif %]", 2),
        ("[[ toJson(files) | b64encode ]]", 3),
        ("[[ d | default(c) ]]", 1),
    ] {
        let parts = markup.parse::<Markup>().expect("valid").parts();
        let mut budget = Budget::of_a_mount();
        let filler = Filler::new(of_class.keys().collect(), &of_class, &mut budget, 100);
        assert_eq!(filler.fill(&parts).expect("filled").1.len(), used, "{markup}");
    }
}

#[test]
fn a38_problems_show_no_values_and_nothing_that_is_near_to_one() {
    let secret = "hunter2-[{\"";
    for markup in [
        "[[ json(s) ]]",
        "[[ s | b64decode ]]",
        "[[ s | pemChain ]]",
        "[[ s.a ]]",
        "[[ files[0] ]]",
        "[[ s | split('-') ]]",
        "[[ s | indent(s) ]]",
        "[[ s | replace('', s) ]]",
        "[% for x in s %][% endfor %]",
        "[[ 1 in s ]]",
        "[[ files[s] ]]",
        "[[ files['x' ~ s] ]]",
        "[[ json('{\"hunter3\": 1}')[s] ]]",
        "[% set w = s %][[ files[w] ]]",
    ] {
        let unfilled = filled(markup, &[("s", secret), ("other", "1")]).expect_err(markup);
        let shown = format!("{} {unfilled:?}", unfilled.problem);
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let by_length = "no file is called as a value says; there are \"s\", \"other\"";
    let near = problem("[[ files[s] ]]", &[("s", "othe"), ("other", "1")]);
    assert_eq!(near.to_string(), by_length);
}

proptest! {
    #[test]
    fn a40_whatever_a_value_is_it_comes_out_as_it_went_in(value in "(\\[\\[|\\]\\]|\\[%|%\\]|[a-z\"'\\\\ ]|\n|\\PC){0,30}") {
        let json = serde_json::json!({ "key": value }).to_string();
        let contents = [("v", &*value), ("j", &json)];
        let twice = format!("{value}|{value}");
        prop_assert_eq!(filled("[[ v ]]|[[ json(j).key ]]", &contents).expect("filled"), twice);
        let read = |markup: &str| filled(markup, &contents).expect("filled");
        prop_assert_eq!(&read("[[ v | b64encode | b64decode ]]"), &value);
        prop_assert_eq!(&serde_json::from_str::<String>(&read("[[ v | toJson ]]")).expect("JSON"), &value);
        prop_assert_eq!(&serde_json::from_str::<String>(&read("[[ v | quote ]]")).expect("JSON too"), &value);
        prop_assert_eq!(&read("[[ v | split('a') | join('a') ]]"), &value);
        let all: BTreeMap<String, String> = serde_json::from_str(&read("[[ toJson(files) ]]")).expect("JSON");
        prop_assert_eq!(&all["v"], &value);
        let encoded = read("[[ v | urlEncode ]]");
        prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
    }

    #[test]
    fn every_number_keeps_its_spelling(number in "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,8})?([eE][+-]?[0-9]{1,2})?") {
        let json = format!("{{\"n\": [{number}]}}");
        let markup = "[[ json(j).n[0] ]] [[ json(j).n | toJson ]] [% for n in json(j).n %][[ n ]][% endfor %]";
        prop_assert_eq!(filled(markup, &[("j", &json)]).expect("filled"), format!("{number} [{number}] {number}"));
    }

    #[test]
    fn no_markup_makes_it_panic(
        raw in "(\\[\\[ | \\]\\]|\\[% if a %\\]|\\[% for x in |\\[% for x, y in | %\\]|\\[% else %\\]|\\[% endif %\\]|\\[% endfor %\\]|\\[% set b = |a|x|files|json\\(|\\)|\\[|\\]|\\.k| \\| (trim|toJson|join|indent\\(2\\)|split\\(\"k\"\\))|\"k\"|0| ~ | in | == |\n){0,16}",
        json in "(\\{\"k\": |\\}|\\[|\\]|1|\"k\"|null|,){0,8}",
    ) {
        if let Ok(markup) = raw.parse::<Markup>() {
            let of_class = files(&[("a", &json), ("k", "{\"k\": [1, {\"k\": null}]}")]);
            let mut budget = Budget::of_a_mount();
            let parts = markup.parts();
            let _ = Filler::new(of_class.keys().collect(), &of_class, &mut budget, 1_000).fill(&parts);
        }
    }
}
