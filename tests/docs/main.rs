//! Whether the pages of docs/ hold together: nothing that is written is left out of the index, leads nowhere, or is missing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All Markdown below a directory.
fn pages_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => pages_below(&path),
            false => Vec::from_iter((path.extension().is_some_and(|it| it == "md")).then_some(path)),
        })
        .collect()
}

/// Its lines, without those of blocks of code.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    page.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    })
}

/// Where its links lead, but for those into the Internet.
fn links(page: &str) -> Vec<String> {
    // A link may be broken over two lines.
    let text = prose(page).collect::<Vec<_>>().join("\n");
    let targets = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    targets.filter(|target| !target.contains("://")).map(str::to_owned).collect()
}

/// What a heading is called in a link to it, as GitHub and mdBook make it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|it| it.is_alphanumeric() || matches!(it, '-' | '_')).collect()
}

fn anchors(page: &str) -> BTreeSet<String> {
    prose(page)
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')))
        .map(anchor)
        .collect()
}

fn alerts() -> BTreeSet<String> {
    let rules = read(&root().join("deploy/charts/secretmount/files/rules.yaml"));
    rules.lines().filter_map(|line| line.trim_start().strip_prefix("- alert: ")).map(str::to_owned).collect()
}

#[test]
fn the_index_has_all_pages_and_no_others() {
    let docs = root().join("docs");
    let index = docs.join("SUMMARY.md");
    let listed: Vec<PathBuf> = links(&read(&index)).iter().map(|link| docs.join(link)).collect();
    let set: BTreeSet<PathBuf> = listed.iter().cloned().collect();
    assert_eq!(set.len(), listed.len(), "a page is listed twice");
    let there: BTreeSet<PathBuf> = pages_below(&docs).into_iter().filter(|page| *page != index).collect();
    assert_eq!(set, there);
}

#[test]
fn links_lead_to_a_page_and_a_heading_of_it() {
    let own = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"].map(|name| root().join(name));
    let mut count = 0;
    for page in pages_below(&root().join("docs")).into_iter().chain(own) {
        let text = read(&page);
        for link in links(&text) {
            count += 1;
            let (path, heading) = link.split_once('#').map_or((link.as_str(), None), |(path, it)| (path, Some(it)));
            let target = match path {
                "" => page.clone(),
                path => page.parent().expect("a directory").join(path),
            };
            let place = page.display();
            assert!(target.exists(), "{place} has a link to {link}, which is not there");
            if let Some(heading) = heading {
                assert!(
                    anchors(&read(&target)).contains(heading),
                    "{place} has a link to {link}, and no heading is called so"
                );
            }
        }
    }
    assert!(count > 100, "only {count} links are seen");
}

#[test]
fn each_alert_has_a_runbook_and_a_row_and_the_reverse() {
    let alerts = alerts();
    assert!(alerts.len() > 5, "{alerts:?}");
    let runbooks = root().join("docs/runbooks");
    let pages = pages_below(&runbooks);
    let names = pages.iter().map(|page| page.file_stem().expect("a name").to_string_lossy().into_owned());
    assert_eq!(names.collect::<BTreeSet<String>>(), alerts);
    let operations = read(&root().join("docs/operations.md"));
    let rows = operations.lines().filter_map(|line| Some(line.strip_prefix("| [`")?.split_once("`](")?.0.to_owned()));
    assert_eq!(rows.collect::<BTreeSet<String>>(), alerts);
}

#[test]
fn each_runbook_says_what_it_means_what_it_does_where_to_look_and_what_helps() {
    for page in pages_below(&root().join("docs/runbooks")) {
        let (text, place) = (read(&page), page.display());
        let name = page.file_stem().expect("a name").to_string_lossy();
        let parts =
            [&format!("# {name}\n"), "\n**Meaning.** ", "\n**Impact.** ", "\n## Diagnosis\n", "\n## Mitigation\n"];
        let found: Option<Vec<usize>> = parts.iter().map(|part| text.find(part)).collect();
        let found = found.unwrap_or_else(|| panic!("{place} lacks one of {parts:?}"));
        assert!(found.is_sorted(), "{place} has them in another order than {parts:?}");
        let commands: usize = ["```console\n$ ", "```promql\n"].iter().map(|fence| text.matches(fence).count()).sum();
        assert_eq!(commands, 3, "{place} has three commands or questions");
    }
}
