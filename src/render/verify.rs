//! Values are held against the rules of their class before anything is made of them.

use super::error::{Of, RenderError};
use super::evaluate::Budget;
use super::pem::{Expiry, PemError, check, ended};
use super::{Documents, cut, pem_texts};
use crate::clock::WallClock;
use crate::config::Limits;
use crate::plan::{Address, Verification};
use crate::secrets::SecretValue;

/// Most bytes that the regular expressions of one mount look through: with the largest ones that takes a tenth of a second.
const SEARCHED: usize = 64 * 1024;

/// The rule that a value breaks; reads on after "is not what `verify` demands: ". The value is not shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    #[error("it is empty")]
    Empty,
    #[error("it is no JSON: {0}")]
    NoJson(String),
    #[error("it has no key {0:?}")]
    KeyMissing(String),
    #[error("`regexp` is not found in it")]
    NotFound,
    #[error("it is no text that `regexp` could be looked for in")]
    NoText,
    #[error("the regular expressions of one mount look through {SEARCHED} bytes at most")]
    TooMuch,
    #[error("it {0}")]
    Pem(PemError),
    #[error("it has no certificate")]
    NoCertificate,
    #[error("its certificate ended on {0}")]
    Ended(String),
}

/// What is left for the rules of one mount.
pub struct Checks<'c> {
    searched_left: usize,
    clock: &'c dyn WallClock,
    limits: &'c Limits,
}

impl<'c> Checks<'c> {
    pub fn of_a_mount(clock: &'c dyn WallClock, limits: &'c Limits) -> Self {
        Self { searched_left: SEARCHED, clock, limits }
    }

    pub fn verify<'a, A: Address>(
        &mut self,
        rules: &Verification,
        value: &SecretValue,
        of: Of<'a, A>,
        documents: &mut Documents<'a, A>,
        budget: &mut Budget,
    ) -> Result<(), RenderError> {
        let rejected =
            |problem| RenderError::Rejected { address: of.address.to_string(), position: of.position, problem };
        let content = value.content.expose();
        if rules.not_empty && content.is_empty() {
            return Err(rejected(Rejection::Empty));
        }
        if rules.json || !rules.keys.is_empty() {
            let document = match documents.of(value, of, "`verify`") {
                Ok(document) => document,
                Err(RenderError::NotJson { problem, .. }) => return Err(rejected(Rejection::NoJson(problem))),
                Err(other) => return Err(other),
            };
            if let Some(missing) = rules.keys.iter().find(|key| document.member(key).is_none()) {
                return Err(rejected(Rejection::KeyMissing(cut(missing))));
            }
        }
        if rules.pem || rules.not_expired {
            let texts = pem_texts(&rules.pem_text, value, of, documents, self.limits)?;
            let of_pem = |problem| rejected(Rejection::Pem(problem));
            if rules.pem {
                check(&texts, budget).map_err(of_pem)?;
            }
            if rules.not_expired {
                match ended(&texts, self.clock.now(), budget).map_err(of_pem)? {
                    Expiry::None => {}
                    Expiry::NoCertificate => return Err(rejected(Rejection::NoCertificate)),
                    Expiry::On(day) => return Err(rejected(Rejection::Ended(day))),
                }
            }
        }
        let Some(regexp) = &rules.regexp else { return Ok(()) };
        let text = std::str::from_utf8(content).map_err(|_| rejected(Rejection::NoText))?;
        self.searched_left = self.searched_left.checked_sub(text.len()).ok_or_else(|| rejected(Rejection::TooMuch))?;
        if regexp.is_in(text) { Ok(()) } else { Err(rejected(Rejection::NotFound)) }
    }
}
