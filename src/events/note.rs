//! What events say, within what they may hold.

use crate::reason::one_line;

/// Most bytes of a note: <https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>.
const MOST_BYTES: usize = 1_024;
/// What is left of it for the names of files.
const MOST_BYTES_OF_FILES: usize = 800;
const MOST_BYTES_OF_A_NAME: usize = 300;

/// A text on one line and not too long. It has to stay the same as long as its cause does.
pub fn cut(text: &str) -> String {
    one_line(text, MOST_BYTES)
}

/// The files that are new in a volume, with their versions, as far as there is room.
pub fn rotated(volume: &str, files: &[(String, String)]) -> String {
    let mut text = format!("volume {volume:?} has new files: ");
    let mut told = 0;
    for (path, version) in files {
        let file =
            format!("{} (version {})", one_line(path, MOST_BYTES_OF_A_NAME), one_line(version, MOST_BYTES_OF_A_NAME));
        if told > 0 && text.len() + file.len() > MOST_BYTES_OF_FILES {
            break;
        }
        if told > 0 {
            text.push_str(", ");
        }
        text.push_str(&file);
        told += 1;
    }
    if told < files.len() {
        text.push_str(&format!(" and {} more", files.len() - told));
    }
    text
}

/// Which optional objects a volume lacks, as far as there is room, and why it lacks the first.
pub fn missing(volume: &str, class: &str, missing: &[(usize, String)]) -> String {
    let positions: Vec<String> = missing.iter().map(|(position, _)| position.to_string()).collect();
    let why = missing.first().map_or("", |(_, why)| why.as_str());
    match positions.as_slice() {
        [one] => format!("volume {volume:?} lacks object {one} of {class:?}, which is optional: {why}"),
        several => {
            let shown = one_line(&several.join(", "), MOST_BYTES_OF_A_NAME);
            format!("volume {volume:?} lacks the objects {shown} of {class:?}, which are optional; the first: {why}")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn new_files_are_named_and_those_without_room_are_counted() {
        let file = |number: usize| (format!("file-{number}"), "2f1c".to_owned());
        let text = rotated("secrets", &[file(1), file(2)]);
        assert_eq!(text, r#"volume "secrets" has new files: file-1 (version 2f1c), file-2 (version 2f1c)"#);
        let text = rotated("secrets", &(0..500).map(file).collect::<Vec<_>>());
        assert!(text.len() < MOST_BYTES && text.ends_with(" more"), "{text}");
    }

    proptest! {
        #[test]
        fn every_text_becomes_a_note(text in "\\PC{0,1100}|([\\x00-\\x1f]|\\PC){0,300}") {
            let note = cut(&text);
            prop_assert!(note.len() <= MOST_BYTES && !note.chars().any(char::is_control));
            let file = (text.clone(), text);
            let note = rotated("secrets", &[file.clone(), file.clone(), file]);
            prop_assert!(note.len() <= MOST_BYTES && !note.chars().any(char::is_control));
        }
    }
}
