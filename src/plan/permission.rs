//! Modes of files inside a volume.

use std::fmt;
use std::str::FromStr;

/// The permission bits of a file: read, write and execute for owner, group and others, never a special bit.
///
/// A set-user-id bit on a binary secret would be a program that runs as root, on a mount without `nosuid`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FilePermission(u32);

impl FilePermission {
    const BITS: u32 = 0o777;

    /// Keeps the permission bits of a mode; the second value tells whether there were others.
    pub fn from_mode(mode: u32) -> (Self, bool) {
        (Self(mode & Self::BITS), mode & !Self::BITS != 0)
    }

    pub fn mode(self) -> u32 {
        self.0
    }
}

impl fmt::Display for FilePermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl fmt::Debug for FilePermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is no [`FilePermission`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write four octal digits in quotes, like \"0400\"")]
pub struct InvalidPermission;

impl FromStr for FilePermission {
    type Err = InvalidPermission;

    /// Takes exactly four octal digits, as the official provider does. Special bits are dropped, as they are there; whoever
    /// reads a class compares and warns.
    fn from_str(raw: &str) -> Result<Self, InvalidPermission> {
        if raw.len() != 4 || !raw.bytes().all(|digit| (b'0'..=b'7').contains(&digit)) {
            return Err(InvalidPermission);
        }
        let mode = u32::from_str_radix(raw, 8).map_err(|_| InvalidPermission)?;
        Ok(Self::from_mode(mode).0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a15_special_bits_are_never_kept() {
        for (raw, mode) in
            [("4755", 0o755), ("2755", 0o755), ("1777", 0o777), ("7777", 0o777), ("0000", 0), ("0400", 0o400)]
        {
            assert_eq!(raw.parse::<FilePermission>().expect(raw).mode(), mode);
        }
        assert_eq!(FilePermission::from_mode(0o4644), (FilePermission(0o644), true));
        assert_eq!(FilePermission::from_mode(0o644), (FilePermission(0o644), false));
    }

    proptest! {
        #[test]
        fn only_four_octal_digits_are_a_permission(raw in "\\PC{0,6}|[0-9]{1,6}") {
            let octal = raw.len() == 4 && raw.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
            match raw.parse::<FilePermission>() {
                Ok(permission) => {
                    prop_assert!(octal);
                    prop_assert!(permission.mode() <= 0o777);
                    prop_assert_eq!(permission.to_string().parse::<FilePermission>(), Ok(permission));
                }
                Err(_) => prop_assert!(!octal),
            }
        }
    }
}
