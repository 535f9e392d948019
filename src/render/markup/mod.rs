//! Fills markup with what the files hold, within the budget of the mount.
//!
//! Each step is paid for, and each byte that is looked at or made, so neither time nor memory can go over what the budget has:
//! nothing is given back. What is written stops at the limit of its file. Values are data: nothing in them is ever read as
//! markup.

mod helpers;
mod value;

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use value::{Text, Value};

use super::bounded::Bounded;
use super::decode::DecodeError;
use super::evaluate::{Budget, EvaluationError};
use super::json::Document;
use super::pem::PemError;
use super::{cut, listed};
use crate::plan::markup::{Expression, Helper, Kind, Part};
use crate::plan::{File, Files, RelativePath};
use crate::sensitive::SecretBytes;

/// Steps that an item of a list costs, for what it takes beside its text.
const STEPS_AN_ITEM: usize = 16;

/// Why markup cannot be filled, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfilled {
    pub line: usize,
    pub problem: Problem,
}

/// Reads on after "line 3: ". Names are shown, values are not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("no file is called {name}; {hint}")]
    NoFile { name: String, hint: String },
    #[error("there is no key {key}; {hint}")]
    NoKey { key: String, hint: String },
    #[error("there is no item {0} in a list")]
    NoItem(u32),
    #[error("{0}")]
    WrongKind(&'static str),
    #[error("{0} is given another kind of value than it takes")]
    WrongArgument(&'static str),
    #[error("a value is no text; `b64encode` makes one of it")]
    NoText,
    #[error("`json` is given a text that is no JSON: {0}")]
    NotJson(String),
    #[error("`b64decode` is given a text that {0}")]
    NotBase64(DecodeError),
    #[error("what `{0}` is given {1}")]
    Pem(&'static str, PemError),
    #[error("`replace` is to replace an empty text")]
    NothingToReplace,
    #[error("it takes too many steps, or makes too much; write a simpler one")]
    TooExpensive,
    #[error(
        "with it a file or all of `templates` would be over a limit; put less into it, or raise --max-value-bytes or --max-mount-bytes"
    )]
    TooLarge,
}

impl Problem {
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::TooExpensive | Self::TooLarge | Self::Pem(_, PemError::TooExpensive))
    }

    /// Whether `default` has an answer.
    fn is_missing(&self) -> bool {
        matches!(self, Self::NoFile { .. } | Self::NoKey { .. } | Self::NoItem(_))
    }
}

impl From<EvaluationError> for Problem {
    fn from(_: EvaluationError) -> Self {
        Self::TooExpensive
    }
}

/// What a template sees.
pub struct Filler<'a, 'b> {
    files: BTreeSet<&'a RelativePath>,
    of_class: &'a Files,
    budget: &'b mut Budget,
    /// Most bytes of any text.
    limit: usize,
    variables: Vec<(&'a str, Value<'a>)>,
    /// Of texts of files, by where they are.
    documents: HashMap<(*const u8, usize), Rc<Document>>,
    used: BTreeSet<&'a RelativePath>,
    /// Of the expression before.
    line: usize,
    /// Within how many expressions that have an answer where something is missing: then nobody reads what would help.
    forgiving: usize,
}

impl<'a, 'b> Filler<'a, 'b> {
    /// `files` are those of `of_class` that the template may take.
    pub fn new(files: BTreeSet<&'a RelativePath>, of_class: &'a Files, budget: &'b mut Budget, limit: usize) -> Self {
        Self {
            files,
            of_class,
            budget,
            limit,
            variables: Vec::new(),
            documents: HashMap::new(),
            used: BTreeSet::new(),
            line: 1,
            forgiving: 0,
        }
    }

    /// The filled text, and the files that were looked at.
    pub fn fill(mut self, parts: &'a [Part]) -> Result<(SecretBytes, BTreeSet<&'a RelativePath>), Unfilled> {
        let mut out = Bounded::new(self.limit);
        self.write(parts, &mut out)?;
        Ok((out.into(), self.used))
    }

    fn write(&mut self, parts: &'a [Part], out: &mut Bounded) -> Result<(), Unfilled> {
        for part in parts {
            match part {
                Part::Text(text) => {
                    let written = self.pay(1, text.len()).and_then(|()| out.push(text).ok_or(Problem::TooLarge));
                    written.map_err(|problem| Unfilled { line: self.line, problem })?;
                }
                Part::Value(expression) => {
                    let text = self.value(expression).and_then(|value| self.at(expression, |it| it.text(&value)))?;
                    self.at(expression, |it| {
                        it.pay(0, text.bytes().len())?;
                        out.push(text.as_str()?).ok_or(Problem::TooLarge)
                    })?;
                }
                Part::Set { name, value } => {
                    let value = self.value(value)?;
                    self.variables.push((name, value));
                }
                Part::If { arms, otherwise } => {
                    let mut chosen = otherwise;
                    for (condition, body) in arms {
                        if self.holds(condition)? {
                            chosen = body;
                            break;
                        }
                    }
                    self.write(chosen, out)?;
                }
                Part::For { names, over, body, otherwise } => {
                    let over_what = self.value(over)?;
                    let items = self.at(over, |it| it.items(over_what, names.len()))?;
                    if items.is_empty() {
                        self.write(otherwise, out)?;
                    }
                    let (known, count) = (self.variables.len(), items.len());
                    for (index, item) in items.into_iter().enumerate() {
                        self.variables.push(("loop", Value::Loop { index, count }));
                        self.variables.extend(names.iter().map(String::as_str).zip(item));
                        self.write(body, out)?;
                        self.variables.truncate(known);
                    }
                }
            }
        }
        Ok(())
    }

    fn holds(&mut self, condition: &'a Expression) -> Result<bool, Unfilled> {
        Ok(self.value(condition)?.is_truthy())
    }

    /// Recurses as deeply as expressions nest, so its arms are functions of their own: what each needs on the stack would
    /// otherwise be there for all of them.
    fn value(&mut self, expression: &'a Expression) -> Result<Value<'a>, Unfilled> {
        self.at(expression, |it| it.pay(1, 0))?;
        match &expression.kind {
            Kind::Text(text) => Ok(Value::Text(Text::Written(text))),
            Kind::Number(number) => Ok(Value::Number(*number)),
            Kind::Bool(value) => Ok(Value::Bool(*value)),
            Kind::Files => Ok(Value::Files),
            Kind::Name(name) => self.at(expression, |it| it.named(name)),
            Kind::Member(of, key) => self.both(expression, of, key, |it, of, key| it.member(of, key)),
            Kind::Equal(left, right) => self.both(expression, left, right, Self::equal),
            Kind::In(item, of) => self.both(expression, item, of, Self::contained),
            Kind::Joined(left, right) => self.both(expression, left, right, Self::joined),
            Kind::Call(Helper::Default, arguments) => self.or_default(expression, arguments),
            Kind::Call(helper, arguments) => self.called(expression, *helper, arguments),
            Kind::Not(inner) => self.holds(inner).map(|holds| Value::Bool(!holds)),
            Kind::And(left, right) => self.either(left, right, false),
            Kind::Or(left, right) => self.either(left, right, true),
            Kind::IsDefined(inner) => self.if_there(inner).map(|found| Value::Bool(found.is_some())),
            Kind::Choice { condition, then, otherwise } => match (self.holds(condition)?, otherwise) {
                (true, _) => self.value(then),
                (false, Some(otherwise)) => self.value(otherwise),
                (false, None) => Ok(Value::Text(Text::Written(""))),
            },
        }
    }

    fn both(
        &mut self,
        expression: &'a Expression,
        left: &'a Expression,
        right: &'a Expression,
        of: fn(&mut Self, &Value<'a>, &Value<'a>) -> Result<Value<'a>, Problem>,
    ) -> Result<Value<'a>, Unfilled> {
        let left = self.value(left)?;
        let right = self.value(right)?;
        self.at(expression, |it| of(it, &left, &right))
    }

    fn joined(&mut self, left: &Value<'a>, right: &Value<'a>) -> Result<Value<'a>, Problem> {
        let (left, right) = (self.text(left)?, self.text(right)?);
        self.made(|out| {
            out.push(left.as_str()?).ok_or(Problem::TooExpensive)?;
            out.push(right.as_str()?).ok_or(Problem::TooExpensive)
        })
    }

    fn equal(&mut self, left: &Value<'a>, right: &Value<'a>) -> Result<Value<'a>, Problem> {
        self.is_equal(left, right).map(Value::Bool)
    }

    fn contained(&mut self, item: &Value<'a>, of: &Value<'a>) -> Result<Value<'a>, Problem> {
        self.is_in(item, of).map(Value::Bool)
    }

    /// The left one where that says enough.
    fn either(&mut self, left: &'a Expression, right: &'a Expression, enough: bool) -> Result<Value<'a>, Unfilled> {
        let left = self.value(left)?;
        if left.is_truthy() == enough { Ok(left) } else { self.value(right) }
    }

    fn called(
        &mut self,
        expression: &'a Expression,
        helper: Helper,
        arguments: &'a [Expression],
    ) -> Result<Value<'a>, Unfilled> {
        let mut values = Vec::with_capacity(arguments.len());
        for argument in arguments {
            values.push(self.value(argument)?);
        }
        self.at(expression, |it| it.help(helper, &values))
    }

    fn or_default(&mut self, expression: &'a Expression, arguments: &'a [Expression]) -> Result<Value<'a>, Unfilled> {
        let [value, otherwise] = arguments else {
            return self.at(expression, |_| Err(Problem::WrongArgument("default")));
        };
        match self.if_there(value)? {
            Some(value) => Ok(value),
            None => self.value(otherwise),
        }
    }

    /// `None` where a file, a key or an item of it is missing.
    fn if_there(&mut self, expression: &'a Expression) -> Result<Option<Value<'a>>, Unfilled> {
        self.forgiving += 1;
        let found = self.value(expression);
        self.forgiving -= 1;
        match found {
            Err(unfilled) if unfilled.problem.is_missing() => Ok(None),
            found => found.map(Some),
        }
    }

    /// Says where something failed.
    fn at<T>(
        &mut self,
        expression: &Expression,
        what: impl FnOnce(&mut Self) -> Result<T, Problem>,
    ) -> Result<T, Unfilled> {
        self.line = expression.line;
        what(self).map_err(|problem| Unfilled { line: expression.line, problem })
    }

    fn pay(&mut self, steps: usize, bytes: usize) -> Result<(), Problem> {
        Ok(self.budget.pay_for_markup(steps, bytes)?)
    }

    /// A new text, which what is left of the budget has room for.
    fn made(&mut self, write: impl FnOnce(&mut Bounded) -> Result<(), Problem>) -> Result<Value<'a>, Problem> {
        let mut out = Bounded::new(self.budget.bytes_of_markup().min(self.limit));
        write(&mut out)?;
        self.given(out.into())
    }

    fn given(&mut self, made: SecretBytes) -> Result<Value<'a>, Problem> {
        self.pay(1, made.len())?;
        Ok(Value::Text(Text::Made(Rc::new(made))))
    }

    /// The nearest variable of a name, or the file of this path.
    fn named(&mut self, name: &str) -> Result<Value<'a>, Problem> {
        self.pay(self.variables.len() / 16, 0)?;
        match self.variables.iter().rev().find(|(known, _)| *known == name) {
            Some((_, value)) => Ok(value.clone()),
            None => self.file(name, Some(name)),
        }
    }

    /// `shown` is the name where it is no value.
    fn file(&mut self, name: &str, shown: Option<&str>) -> Result<Value<'a>, Problem> {
        match self.find(name) {
            Some(content) => Ok(Value::Text(Text::Of(content.expose()))),
            None => {
                let (name, hint) = self.told(shown, self.files.iter().map(|path| path.as_str()));
                Err(Problem::NoFile { name, hint })
            }
        }
    }

    /// What a file holds, which counts as looked at then.
    fn find(&mut self, name: &str) -> Option<&'a SecretBytes> {
        let (path, File { content, .. }) = self.of_class.get_key_value(name)?;
        self.files.contains(path).then(|| {
            self.used.insert(path);
            content
        })
    }

    /// A name that nothing has, and those that there are. Of a value nothing is told, not even what is near to it.
    fn told<'n>(&self, wanted: Option<&str>, names: impl Iterator<Item = &'n str>) -> (String, String) {
        if self.forgiving > 0 {
            return (String::new(), String::new());
        }
        let listed = listed(names, wanted.unwrap_or_default());
        let hint = listed.map_or("there are none".into(), |listed| format!("there are {listed}"));
        (wanted.map_or("as a value says".into(), |wanted| format!("{:?}", cut(wanted))), hint)
    }

    fn member(&mut self, of: &Value<'a>, key: &Value<'a>) -> Result<Value<'a>, Problem> {
        match (of, key) {
            (Value::Files, Value::Text(name)) => self.file(name.as_str()?, name.shown()),
            (Value::Loop { index, count }, Value::Text(name)) => match name.as_str()? {
                "index" => Ok(Value::Number(u32::try_from(index.saturating_add(1)).unwrap_or(u32::MAX))),
                "first" => Ok(Value::Bool(*index == 0)),
                "last" => Ok(Value::Bool(index.saturating_add(1) == *count)),
                _ => Err(Problem::WrongKind("`loop` has index, first and last")),
            },
            (Value::List(items), Value::Number(index)) => {
                items.get(*index as usize).cloned().ok_or(Problem::NoItem(*index))
            }
            (Value::Json(document, node), Value::Number(index)) if node.is_array() => {
                let item = node.as_array().and_then(|items| items.get(*index as usize)).filter(|item| !item.is_null());
                self.json(document, item.ok_or(Problem::NoItem(*index))?)
            }
            (Value::Json(document, node), Value::Text(name)) if node.is_object() => {
                let key = name.as_str()?;
                let found = node.as_object().and_then(|members| members.get(key)).filter(|member| !member.is_null());
                let Some(found) = found else {
                    let keys = node.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
                    let (key, hint) = self.told(name.shown(), keys);
                    return Err(Problem::NoKey { key, hint });
                };
                self.json(document, found)
            }
            (Value::Text(_), _) => Err(Problem::WrongKind("a text has no members; `json` reads one that is JSON")),
            _ => Err(Problem::WrongKind("a value has no members of that kind")),
        }
    }

    /// What a `for` goes through, each with as many values as it has names.
    fn items(&mut self, over: Value<'a>, names: usize) -> Result<Vec<Vec<Value<'a>>>, Problem> {
        let text = |text: &str| Value::Text(Text::Made(Rc::new(SecretBytes::from(text.to_owned()))));
        let items: Vec<Vec<Value<'a>>> = match over {
            Value::Files => {
                let paths: Vec<&'a RelativePath> = self.files.iter().copied().collect();
                let mut items = Vec::new();
                for path in paths {
                    self.pay(STEPS_AN_ITEM, 0)?;
                    items.push(vec![Value::Text(Text::Of(path.as_str().as_bytes())), self.file(path.as_str(), None)?]);
                }
                items
            }
            Value::List(list) if names == 1 => {
                self.pay(list.len().saturating_mul(STEPS_AN_ITEM), 0)?;
                list.iter().map(|item| vec![item.clone()]).collect()
            }
            Value::Json(document, node) => match (node.as_array(), node.as_object()) {
                (Some(list), _) if names == 1 => {
                    self.pay(list.len().saturating_mul(STEPS_AN_ITEM), 0)?;
                    let there = list.iter().filter(|item| !item.is_null());
                    there.map(|item| Ok(vec![self.json(&document, item)?])).collect::<Result<_, Problem>>()?
                }
                (_, Some(members)) => {
                    let there = members.iter().filter(|(_, member)| !member.is_null());
                    let pairs = there.map(|(key, member)| {
                        self.pay(STEPS_AN_ITEM, key.len())?;
                        Ok(vec![text(key), self.json(&document, member)?])
                    });
                    pairs.collect::<Result<_, Problem>>()?
                }
                _ => {
                    return Err(Problem::WrongKind(
                        "`for` goes through lists with one name, through keys and files with one or two",
                    ));
                }
            },
            _ => {
                return Err(Problem::WrongKind(
                    "`for` goes through lists with one name, through keys and files with one or two",
                ));
            }
        };
        Ok(items)
    }
}

#[cfg(test)]
mod tests;
