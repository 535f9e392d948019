//! Evaluates JMESPath expressions within a budget.
//!
//! The library's interpreter stops only when it is done, and a short expression can keep it busy for years: `map` over a
//! literal inside `map` over a literal, lists that repeat their input. One such class would occupy every thread of the node's
//! provider. So the walk over the expression is done here, each step and each value that a function has to look through is
//! paid for, and parser, values and functions remain the library's.
//!
//! The meaning is that of the [specification](https://jmespath.org/specification.html); a property test compares it with the
//! library's own interpreter.

use jmespath::ast::{Ast, KeyValuePair};
use jmespath::{Context, DEFAULT_RUNTIME, Rcvar, Variable};

use super::json::plain;
use crate::plan::JmesPath;

/// What all expressions, patterns, certificates and markup of one mount may cost together. The dearest known, `fuzz/seeds/jmespath/bomb_of_*`, take 40 ms of CPU
/// and 8 MiB in a release build.
const STEPS: usize = 1_000_000;
/// Bytes of text that count as one step where a function has to look through them.
const BYTES_A_STEP: usize = 2;

/// Why an expression gives nothing; reads on after "the jmesPath … fails on …: ". Values are never quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    #[error("it takes too many steps; write a simpler one")]
    TooExpensive,
    #[error("a function has an argument of the wrong type, or is unknown")]
    Function,
    #[error("a slice has the step 0")]
    Slice,
}

/// Steps of comparing with patterns that count as one here.
const PATTERN_STEPS_A_STEP: usize = 16;

/// Steps that a signature costs: a mount may compare five hundred, the largest of which take half a millisecond each.
const CRYPTOGRAPHY_STEPS: usize = 2_000;

/// What is left for the expressions, patterns, certificates and markup of one mount.
#[derive(Debug)]
pub struct Budget(usize);

impl Budget {
    pub fn of_a_mount() -> Self {
        Self(STEPS)
    }

    /// Pays for comparing a text with patterns.
    pub fn pay_for_patterns(&mut self, steps: usize) -> Result<(), EvaluationError> {
        self.pay(steps / PATTERN_STEPS_A_STEP)
    }

    /// Pays for comparing a signature, or a private key with itself.
    pub fn pay_for_cryptography(&mut self) -> Result<(), EvaluationError> {
        self.pay(CRYPTOGRAPHY_STEPS)
    }

    /// Pays for steps of filling markup, and bytes that are looked at or made there.
    pub fn pay_for_markup(&mut self, steps: usize, bytes: usize) -> Result<(), EvaluationError> {
        self.pay(steps.saturating_add(bytes / BYTES_A_STEP))
    }

    /// How many bytes could still be paid for.
    pub fn bytes_of_markup(&self) -> usize {
        self.0.saturating_mul(BYTES_A_STEP)
    }

    fn pay(&mut self, steps: usize) -> Result<(), EvaluationError> {
        self.0 = self.0.checked_sub(steps).ok_or(EvaluationError::TooExpensive)?;
        Ok(())
    }

    /// Pays for a value and all below it, as often as it is repeated: memory may be shared, work is not.
    fn pay_for(&mut self, value: &Variable) -> Result<(), EvaluationError> {
        self.pay(1)?;
        match value {
            Variable::Null | Variable::Bool(_) | Variable::Number(_) | Variable::Expref(_) => Ok(()),
            Variable::String(text) => self.pay(text.len() / BYTES_A_STEP),
            Variable::Array(items) => items.iter().try_for_each(|item| self.pay_for(item)),
            Variable::Object(members) => members.iter().try_for_each(|(key, member)| {
                self.pay(key.len() / BYTES_A_STEP)?;
                self.pay_for(member)
            }),
        }
    }
}

/// What an expression selects from a document; JMESPath's null where it selects nothing. Nodes of the document come out as
/// themselves, not as copies.
pub fn evaluate(expression: &JmesPath, document: &Rcvar, budget: &mut Budget) -> Result<Rcvar, EvaluationError> {
    Evaluation { text: expression.as_str(), budget }.walk(document, expression.ast())
}

struct Evaluation<'a> {
    text: &'a str,
    budget: &'a mut Budget,
}

impl Evaluation<'_> {
    fn walk(&mut self, data: &Rcvar, node: &Ast) -> Result<Rcvar, EvaluationError> {
        self.budget.pay(1)?;
        Ok(match node {
            Ast::Identity { .. } => data.clone(),
            Ast::Field { name, .. } => data.get_field(name),
            Ast::Literal { value, .. } => value.clone(),
            Ast::Index { idx, .. } => match usize::try_from(*idx) {
                Ok(index) => data.get_index(index),
                Err(_) => data.get_negative_index(idx.unsigned_abs() as usize),
            },
            Ast::Slice { step: 0, .. } => return Err(EvaluationError::Slice),
            Ast::Slice { start, stop, step, .. } => {
                self.budget.pay(data.as_array().map_or(0, Vec::len))?;
                data.slice(*start, *stop, *step).map_or_else(null, array)
            }
            Ast::Subexpr { lhs, rhs, .. } => {
                let left = self.walk(data, lhs)?;
                self.walk(&left, rhs)?
            }
            Ast::Or { lhs, rhs, .. } => match self.walk(data, lhs)? {
                left if left.is_truthy() => left,
                _ => self.walk(data, rhs)?,
            },
            Ast::And { lhs, rhs, .. } => match self.walk(data, lhs)? {
                left if left.is_truthy() => self.walk(data, rhs)?,
                left => left,
            },
            Ast::Not { node, .. } => boolean(!self.walk(data, node)?.is_truthy()),
            Ast::Condition { predicate, then, .. } => match self.walk(data, predicate)?.is_truthy() {
                true => self.walk(data, then)?,
                false => null(),
            },
            Ast::Comparison { comparator, lhs, rhs, .. } => {
                let (left, right) = (self.walk(data, lhs)?, self.walk(data, rhs)?);
                self.budget.pay_for(&left)?;
                self.budget.pay_for(&right)?;
                left.compare(comparator, &right).map_or_else(null, boolean)
            }
            Ast::ObjectValues { node, .. } => match self.walk(data, node)?.as_object() {
                None => null(),
                Some(members) => {
                    self.budget.pay(members.len())?;
                    array(members.values().cloned().collect())
                }
            },
            Ast::Projection { lhs, rhs, .. } => match self.walk(data, lhs)?.as_array() {
                None => null(),
                Some(items) => {
                    let projected = self.walk_each(items, rhs)?;
                    array(projected.into_iter().filter(|item| !item.is_null()).collect())
                }
            },
            Ast::Flatten { node, .. } => match self.walk(data, node)?.as_array() {
                None => null(),
                Some(items) => {
                    let mut flat = Vec::new();
                    for item in items {
                        let parts = item.as_array().map_or(std::slice::from_ref(item), Vec::as_slice);
                        self.budget.pay(parts.len())?;
                        flat.extend_from_slice(parts);
                    }
                    array(flat)
                }
            },
            Ast::MultiList { .. } | Ast::MultiHash { .. } if data.is_null() => null(),
            Ast::MultiList { elements, .. } => {
                let items: Result<_, _> = elements.iter().map(|element| self.walk(data, element)).collect();
                array(items?)
            }
            Ast::MultiHash { elements, .. } => {
                let member = |KeyValuePair { key, value }: &KeyValuePair| Ok((key.clone(), self.walk(data, value)?));
                let members: Result<_, _> = elements.iter().map(member).collect();
                Rcvar::new(Variable::Object(members?))
            }
            Ast::Expref { ast, .. } => {
                self.budget.pay(self.text.len())?; // the expression is copied into the value
                Rcvar::new(Variable::Expref((**ast).clone()))
            }
            Ast::Function { name, args, .. } => {
                let values: Result<Vec<_>, _> = args.iter().map(|argument| self.walk(data, argument)).collect();
                self.call(name, &values?)?
            }
        })
    }

    fn walk_each(&mut self, items: &[Rcvar], node: &Ast) -> Result<Vec<Rcvar>, EvaluationError> {
        items.iter().map(|item| self.walk(item, node)).collect()
    }

    /// The four functions that evaluate an expression themselves are done here, the others by the library, after their
    /// arguments have been paid for: none gives more than a few times what it gets.
    fn call(&mut self, name: &str, values: &[Rcvar]) -> Result<Rcvar, EvaluationError> {
        if let ("map", [by, items]) | ("sort_by" | "max_by" | "min_by", [items, by]) = (name, values) {
            let items = items.as_array().ok_or(EvaluationError::Function)?;
            let by = by.as_expref().ok_or(EvaluationError::Function)?;
            let found = self.walk_each(items, by)?;
            return match name {
                "map" => Ok(array(found)),
                _ => self.choose(name, items, found),
            };
        }
        values.iter().try_for_each(|value| self.budget.pay_for(value))?;
        // The official provider takes texts only, so its users write this around every number.
        if let ("to_string", [value]) = (name, values)
            && let Variable::Number(number) = &**value
        {
            return Ok(Rcvar::new(Variable::String(plain(number))));
        }
        let function = DEFAULT_RUNTIME.get_function(name).ok_or(EvaluationError::Function)?;
        let mut context = Context::new(self.text, &DEFAULT_RUNTIME);
        function.evaluate(values, &mut context).map_err(|_| EvaluationError::Function)
    }

    /// `sort_by`, `max_by`, `min_by`: the keys must be all texts or all numbers.
    fn choose(&mut self, name: &str, items: &[Rcvar], keys: Vec<Rcvar>) -> Result<Rcvar, EvaluationError> {
        let comparable = keys.iter().all(|key| key.is_string()) || keys.iter().all(|key| key.is_number());
        if !comparable {
            return Err(EvaluationError::Function);
        }
        keys.iter().try_for_each(|key| self.budget.pay_for(key))?;
        let mut pairs: Vec<(Rcvar, &Rcvar)> = keys.into_iter().zip(items).collect();
        self.budget.pay(pairs.len().saturating_mul(pairs.len().max(1).ilog2() as usize))?;
        pairs.sort_by(|(left, _), (right, _)| left.cmp(right)); // stable, so of equal keys the first stays first
        let first_of = |pairs: &[(Rcvar, &Rcvar)], key: &Rcvar| {
            pairs.iter().find(|(other, _)| other == key).map_or_else(null, |(_, item)| (*item).clone())
        };
        Ok(match (name, pairs.first(), pairs.last()) {
            ("sort_by", ..) => array(pairs.into_iter().map(|(_, item)| item.clone()).collect()),
            ("min_by", Some((_, item)), _) => (*item).clone(),
            ("max_by", _, Some((key, _))) => first_of(&pairs, key),
            _ => null(),
        })
    }
}

fn null() -> Rcvar {
    Rcvar::new(Variable::Null)
}

fn boolean(value: bool) -> Rcvar {
    Rcvar::new(Variable::Bool(value))
}

fn array(items: Vec<Rcvar>) -> Rcvar {
    Rcvar::new(Variable::Array(items))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn document() -> Rcvar {
        let text = r#"{"a": [{"b": 1, "s": "x"}, {"b": 3, "s": "y"}, {"b": 2, "s": "x"}], "o": {"k": "v", "n": null, "m": [1, [2, 3]]}, "t": "text", "f": false}"#;
        Rcvar::new(Variable::from_json(text).expect("JSON"))
    }

    fn ours(expression: &str) -> Result<Rcvar, EvaluationError> {
        evaluate(&expression.parse().expect(expression), &document(), &mut Budget::of_a_mount())
    }

    /// The library's own answer, without the reason of an error.
    fn theirs(expression: &str) -> Option<Rcvar> {
        let compiled = jmespath::compile(expression).expect(expression);
        let mut context = Context::new(expression, &DEFAULT_RUNTIME);
        jmespath::interpret(&document(), compiled.as_ast(), &mut context).ok()
    }

    #[test]
    fn every_kind_of_expression_means_what_it_means_to_the_library() {
        for expression in [
            "a",
            "a[0].b",
            "a[-1]",
            "a[9]",
            "a[-9]",
            "a[*].b",
            "a[?s=='x'].b",
            "a[?b>`1`]",
            "a[1:]",
            "a[::-1].b",
            "o.*",
            "o.m[]",
            "[a[0], t]",
            "{x: t, y: f}",
            "f || t",
            "f && t",
            "!f",
            "t == 'text'",
            "t < 'u'",
            "a[*].s | [0]",
            "`[1, 2]`",
            "'raw'",
            "@",
            "missing[*].x",
            "missing.[a]",
            "o.m",
            "length(a)",
            "keys(o)",
            "join('-', a[*].s)",
            "to_string(o)",
            "sort(a[*].b)",
            "map(&b, a)",
            "map(&missing, a)",
            "sort_by(a, &b)",
            "sort_by(a, &s)",
            "max_by(a, &b)",
            "min_by(a, &s)",
            "max_by(a, &s)",
            "max_by(`[]`, &b)",
            "sort_by(a, &missing)",
            "sort_by(t, &b)",
            "map(a, &b)",
            "sort_by(a)",
            "abs(t)",
            "nonsense(a)",
            "merge(o, a[0])",
            "not_null(missing, t)",
            "a[0:2:0]",
            "avg(a[*].b)",
            "contains(t, 'ex')",
            "reverse(a)",
            "sum(a[*].b)",
        ] {
            assert_eq!(ours(expression).ok(), theirs(expression), "{expression}");
        }
    }

    #[test]
    fn a10_expressions_that_multiply_end_at_the_budget() {
        let literal = "`[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]`";
        let maps = "map(&".repeat(12) + "@" + &format!(", {literal})").repeat(12);
        let lists = "[@,@,@]".to_owned() + &"[*].[@,@,@]".repeat(15);
        let flat = "[@,@]".to_owned() + &"|[@,@][]".repeat(20);
        let text = format!("to_string({})", "[@,@]".to_owned() + &"|[@,@]".repeat(30));
        let joined = "join('', [".repeat(12) + "t,t" + &"])".repeat(12);
        let equal = "[@,@]".to_owned() + &"|[@,@]".repeat(28) + "|@==@";
        for expression in [&maps, &flat, &text, &equal] {
            // Not `assert_eq`, which would print what came out.
            let error = ours(expression).err();
            assert_eq!(error, Some(EvaluationError::TooExpensive), "{expression}");
        }
        // What shares memory costs nothing before it is written, and there the size of a file ends it.
        for expression in [&lists, &joined] {
            assert!(ours(expression).is_ok(), "{expression}");
        }
    }

    #[test]
    fn all_expressions_of_a_mount_share_one_budget() {
        let mut budget = Budget::of_a_mount();
        let expression: JmesPath = "a[*].b".parse().expect("valid");
        let document = document();
        let times = (0..).take_while(|_| evaluate(&expression, &document, &mut budget).is_ok()).count();
        assert!((10_000..STEPS).contains(&times), "{times}");
    }

    proptest! {
        #[test]
        fn random_expressions_mean_what_they_mean_to_the_library(parts in proptest::collection::vec(prop_oneof![
            Just("a"), Just("o"), Just("t"), Just("[*]"), Just("[]"), Just("[0]"), Just("[-1]"), Just(".b"), Just(".s"), Just(".m"), Just(".*"),
            Just(" | "), Just(" || "), Just(" && "), Just(" == "), Just("!"), Just("@"), Just("[?b>`1`]"), Just("[1:]"), Just(".[b, s]"),
            Just(".{x: b}"), Just("length("), Just("map(&"), Just(", a)"), Just(")"), Just("sort_by("), Just(", &b)"), Just("keys("),
        ], 1..9)) {
            let expression = parts.concat();
            if expression.parse::<JmesPath>().is_ok() {
                prop_assert_eq!(ours(&expression).ok(), theirs(&expression), "{}", expression);
            }
        }
    }
}
