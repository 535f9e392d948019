//! How a name becomes the name of a file.

/// What stands for the slashes of a name in its file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Translation {
    Off,
    To(char),
}

impl Translation {
    /// Without translation leading slashes go, because a file name cannot be absolute.
    pub fn apply(self, name: &str) -> String {
        match self {
            Self::Off => name.trim_start_matches('/').to_owned(),
            Self::To(character) => name.replace('/', character.encode_utf8(&mut [0; 4])),
        }
    }
}
