//! What events say, within what they may hold.

/// Most bytes of a note: <https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>.
const MOST_BYTES: usize = 1_024;
/// What is left of it for the names of files.
const MOST_BYTES_OF_FILES: usize = 800;

/// A text on one line and not too long. It has to stay the same as long as its cause does.
pub fn cut(text: &str) -> String {
    let mut note = String::with_capacity(text.len().min(MOST_BYTES));
    for c in text.chars() {
        let c = if c.is_control() { ' ' } else { c };
        if note.len() + c.len_utf8() > MOST_BYTES - '…'.len_utf8() {
            note.push('…');
            break;
        }
        note.push(c);
    }
    note
}

/// The files that are new in a volume, with their versions, as far as there is room.
pub fn rotated(volume: &str, files: &[(String, String)]) -> String {
    let mut text = format!("volume {volume:?} has new files: ");
    let mut told = 0;
    for (path, version) in files {
        let file = format!("{path} (version {version})");
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
        }
    }
}
