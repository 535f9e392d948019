//! Reads markup, from front to back and never twice.

use super::{Expression, Helper, InvalidMarkup, Kind, MAX_DEPTH, MAX_PARTS, Part};

/// Words that mean something in an expression, and so name nothing.
const WORDS: [&str; 13] =
    ["and", "defined", "elif", "else", "endfor", "endif", "false", "files", "if", "in", "is", "not", "or"];
/// As much of a word as an error shows.
const SHOWN: usize = 60;

pub struct Parser<'t> {
    text: &'t str,
    /// What is not read yet.
    rest: &'t str,
    line: usize,
    depth: usize,
    /// Of the expression that is read.
    parts: usize,
}

/// What ends the body of a statement.
enum End {
    Elif(Expression),
    Else,
    OfIf,
    OfFor,
    OfText,
}

impl End {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Elif(_) => "elif",
            Self::Else => "else",
            Self::OfIf => "endif",
            Self::OfFor => "endfor",
            Self::OfText => "the end of the text",
        }
    }
}

type Parsed<T> = Result<T, InvalidMarkup>;

impl<'t> Parser<'t> {
    pub fn new(text: &'t str) -> Self {
        Self { text, rest: text, line: 1, depth: 0, parts: 0 }
    }

    pub fn whole(mut self) -> Parsed<Vec<Part>> {
        match self.body()? {
            (parts, End::OfText) => Ok(parts),
            (_, end) => self.wrong(format!("`{}` has no beginning", end.as_str())),
        }
    }

    // --- text and statements

    /// Parts up to what ends them.
    fn body(&mut self) -> Parsed<(Vec<Part>, End)> {
        let mut parts = Vec::new();
        loop {
            let tag = ["[[", "[%", "[#"].into_iter().filter_map(|open| Some((self.rest.find(open)?, open))).min();
            let Some((before, open)) = tag else {
                let text = self.skip(self.rest.len());
                push_text(&mut parts, text);
                return Ok((parts, End::OfText));
            };
            let text = self.skip(before);
            let has_line = open != "[[" && self.begins_line();
            self.skip(open.len());
            push_text(&mut parts, if self.take("-") { text.trim_end() } else { text });
            let end = match open {
                "[[" => {
                    let value = self.tagged()?;
                    self.close("]]", false, &mut parts)?;
                    parts.push(Part::Value(value));
                    None
                }
                "[%" => self.statement(has_line, &mut parts)?,
                _ => {
                    let line = self.line;
                    let Some(end) = self.rest.find("#]") else {
                        return Err(InvalidMarkup::Syntax { line, problem: "`[#` is not closed with `#]`".into() });
                    };
                    let comment = self.skip(end);
                    if comment.ends_with('-') {
                        self.skip(2);
                        self.skip_blank();
                    } else {
                        self.close("#]", has_line, &mut parts)?;
                    }
                    None
                }
            };
            if let Some(end) = end {
                return Ok((parts, end));
            }
        }
    }

    /// What stands behind `[%`. Parts are what came before it.
    fn statement(&mut self, has_line: bool, parts: &mut Vec<Part>) -> Parsed<Option<End>> {
        self.skip_blank();
        let line = self.line;
        let word = self.word().unwrap_or_default();
        let mut close = |parser: &mut Self| parser.close("%]", has_line, parts);
        let part = match word {
            "elif" => {
                let condition = self.tagged()?;
                close(self)?;
                return Ok(Some(End::Elif(condition)));
            }
            "else" | "endif" | "endfor" => {
                close(self)?;
                return Ok(Some(match word {
                    "else" => End::Else,
                    "endif" => End::OfIf,
                    _ => End::OfFor,
                }));
            }
            "set" => {
                let name = self.name()?;
                self.expect("=")?;
                let value = self.tagged()?;
                close(self)?;
                Part::Set { name, value }
            }
            "if" => {
                let condition = self.tagged()?;
                close(self)?;
                self.deeper(|parser| parser.arms(line, condition))?
            }
            "for" => {
                let mut names = vec![self.name()?];
                self.skip_blank();
                if self.take(",") {
                    names.push(self.name()?);
                }
                self.skip_blank();
                if self.word() != Some("in") {
                    return self.wrong("`for` needs a name, or two with a comma, then `in`".into());
                }
                let over = self.tagged()?;
                close(self)?;
                self.deeper(|parser| parser.loop_over(line, names, over))?
            }
            "raw" => {
                close(self)?;
                Part::Text(self.raw(line)?)
            }
            "include" | "import" | "from" | "extends" | "block" | "macro" | "call" | "filter" | "do" | "with" => {
                return self.wrong(format!("`{word}` is none of the statements here, which are if, for, set and raw"));
            }
            _ => {
                let problem = format!("{:?} is no statement; there are if, for, set and raw", shown(word));
                return Err(InvalidMarkup::Syntax { line, problem });
            }
        };
        parts.push(part);
        Ok(None)
    }

    fn arms(&mut self, line: usize, mut condition: Expression) -> Parsed<Part> {
        let mut arms = Vec::new();
        loop {
            let (body, end) = self.body()?;
            arms.push((condition, body));
            let otherwise = match end {
                End::Elif(next) => {
                    condition = next;
                    continue;
                }
                End::Else => match self.body()? {
                    (otherwise, End::OfIf) => otherwise,
                    (_, end) => return self.unclosed("if", line, &end),
                },
                End::OfIf => Vec::new(),
                end => return self.unclosed("if", line, &end),
            };
            return Ok(Part::If { arms, otherwise });
        }
    }

    fn loop_over(&mut self, line: usize, names: Vec<String>, over: Expression) -> Parsed<Part> {
        let (body, end) = self.body()?;
        let otherwise = match end {
            End::OfFor => Vec::new(),
            End::Else => match self.body()? {
                (otherwise, End::OfFor) => otherwise,
                (_, end) => return self.unclosed("for", line, &end),
            },
            end => return self.unclosed("for", line, &end),
        };
        Ok(Part::For { names, over, body, otherwise })
    }

    /// Text up to `[% endraw %]`, in which nothing means anything.
    fn raw(&mut self, line: usize) -> Parsed<String> {
        let from = self.rest;
        loop {
            let Some(before) = self.rest.find("[%") else {
                return Err(InvalidMarkup::Syntax { line, problem: "`raw` is not closed with `endraw`".into() });
            };
            self.skip(before);
            let has_line = self.begins_line();
            let length = from.len().saturating_sub(self.rest.len());
            self.skip(2);
            let trims = self.take("-");
            self.skip_blank();
            if self.word() == Some("endraw") {
                let mut text = Vec::new();
                let inner = from.get(..length).unwrap_or_default();
                push_text(&mut text, if trims { inner.trim_end() } else { inner });
                self.close("%]", has_line, &mut text)?;
                return Ok(match text.pop() {
                    Some(Part::Text(text)) => text,
                    _ => String::new(),
                });
            }
        }
    }

    fn unclosed<T>(&self, statement: &str, line: usize, end: &End) -> Parsed<T> {
        let problem = format!("`{statement}` is closed with `end{statement}`, and not with `{}`", end.as_str());
        Err(InvalidMarkup::Syntax { line, problem })
    }

    /// The end of a tag. One that has its line for itself takes the whole line with it, so that statements leave no blank ones.
    fn close(&mut self, close: &str, has_line: bool, before: &mut [Part]) -> Parsed<()> {
        self.skip_blank();
        if self.rest.strip_prefix('-').is_some_and(|rest| rest.starts_with(close)) {
            self.skip(1);
            self.skip(close.len());
            self.skip_blank();
            return Ok(());
        }
        self.expect(close)?;
        if !has_line {
            return Ok(());
        }
        let behind = self.rest.trim_start_matches([' ', '\t']);
        let line_break = ["\r\n", "\n"].into_iter().find(|line_break| behind.starts_with(line_break));
        if line_break.is_some() || behind.is_empty() {
            let blank = self.rest.len().saturating_sub(behind.len());
            self.skip(blank.saturating_add(line_break.map_or(0, str::len)));
            if let Some(Part::Text(text)) = before.last_mut() {
                text.truncate(text.trim_end_matches([' ', '\t']).len());
            }
        }
        Ok(())
    }

    fn begins_line(&self) -> bool {
        let before = self.text.get(..self.text.len().saturating_sub(self.rest.len())).unwrap_or_default();
        let before = before.trim_end_matches([' ', '\t']);
        before.is_empty() || before.ends_with('\n')
    }

    // --- expressions, what binds least first

    /// The one of a tag.
    fn tagged(&mut self) -> Parsed<Expression> {
        self.parts = 0;
        self.expression()
    }

    fn expression(&mut self) -> Parsed<Expression> {
        self.deeper(|parser| {
            let then = parser.or()?;
            if !parser.take_word("if") {
                return Ok(then);
            }
            let condition = Box::new(parser.or()?);
            let otherwise = match parser.take_word("else") {
                true => Some(Box::new(parser.expression()?)),
                false => None,
            };
            parser.made(then.line, Kind::Choice { condition, then: Box::new(then), otherwise })
        })
    }

    fn or(&mut self) -> Parsed<Expression> {
        let mut left = self.and()?;
        while self.take_word("or") {
            left = self.both(left, Self::and, Kind::Or)?;
        }
        Ok(left)
    }

    fn and(&mut self) -> Parsed<Expression> {
        let mut left = self.not()?;
        while self.take_word("and") {
            left = self.both(left, Self::not, Kind::And)?;
        }
        Ok(left)
    }

    fn not(&mut self) -> Parsed<Expression> {
        if !self.take_word("not") {
            return self.comparison();
        }
        let line = self.line;
        let inner = self.deeper(Self::not)?;
        self.made(line, Kind::Not(Box::new(inner)))
    }

    fn comparison(&mut self) -> Parsed<Expression> {
        let mut left = self.joined()?;
        loop {
            self.skip_blank();
            let line = left.line;
            let (is_negated, found) = if self.take("==") {
                (false, self.both(left, Self::joined, Kind::Equal)?)
            } else if self.take("!=") {
                (true, self.both(left, Self::joined, Kind::Equal)?)
            } else if self.take_word("in") {
                (false, self.both(left, Self::joined, Kind::In)?)
            } else if self.take_word("not") {
                if !self.take_word("in") {
                    return self.wrong("`not` behind a value needs `in`".into());
                }
                (true, self.both(left, Self::joined, Kind::In)?)
            } else if self.take_word("is") {
                let is_negated = self.take_word("not");
                if !self.take_word("defined") {
                    return self.wrong("`is` needs `defined`, or `not defined`".into());
                }
                (is_negated, self.made(line, Kind::IsDefined(Box::new(left)))?)
            } else {
                return Ok(left);
            };
            left = match is_negated {
                true => self.made(line, Kind::Not(Box::new(found)))?,
                false => found,
            };
        }
    }

    fn joined(&mut self) -> Parsed<Expression> {
        let mut left = self.filtered()?;
        loop {
            self.skip_blank();
            if !self.take("~") {
                return Ok(left);
            }
            left = self.both(left, Self::filtered, Kind::Joined)?;
        }
    }

    fn filtered(&mut self) -> Parsed<Expression> {
        let mut value = self.single()?;
        loop {
            self.skip_blank();
            if !self.take("|") {
                return Ok(value);
            }
            self.skip_blank();
            let line = value.line;
            let word = self.word().unwrap_or_default();
            let mut arguments = vec![value];
            if self.take("(") {
                self.arguments(&mut arguments)?;
            }
            value = self.call(line, word, arguments)?;
        }
    }

    /// A value with its members.
    fn single(&mut self) -> Parsed<Expression> {
        let mut value = self.primary()?;
        loop {
            let line = value.line;
            if self.take(".") {
                let key = self.word().ok_or_else(|| self.problem("a name is missing behind `.`".into()))?;
                let key = Expression { line, kind: Kind::Text(key.to_owned()) };
                value = self.made(line, Kind::Member(Box::new(value), Box::new(key)))?;
            } else if self.take("[") {
                let key = self.expression()?;
                self.expect("]")?;
                value = self.made(line, Kind::Member(Box::new(value), Box::new(key)))?;
            } else {
                return Ok(value);
            }
        }
    }

    fn primary(&mut self) -> Parsed<Expression> {
        self.skip_blank();
        let line = self.line;
        if let Some(quote) = self.rest.chars().next().filter(|first| matches!(first, '"' | '\'')) {
            let text = self.quoted(quote)?;
            return self.made(line, Kind::Text(text));
        }
        if self.take("(") {
            let inner = self.expression()?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.rest.starts_with(|first: char| first.is_ascii_digit()) {
            let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
            let number = self.skip(end).parse();
            let number = number.map_err(|_| self.problem("a number is too large".into()))?;
            return self.made(line, Kind::Number(number));
        }
        match self.word() {
            None => {
                let next: String = self.rest.chars().take(1).collect();
                self.wrong(match next.as_str() {
                    "" => "it ends within a tag".into(),
                    next => format!("a value is missing before {next:?}"),
                })
            }
            Some(word) if self.take("(") => {
                let mut arguments = Vec::new();
                self.arguments(&mut arguments)?;
                self.call(line, word, arguments)
            }
            Some("true") => self.made(line, Kind::Bool(true)),
            Some("false") => self.made(line, Kind::Bool(false)),
            Some("files") => self.made(line, Kind::Files),
            Some(word) if WORDS.contains(&word) => self.wrong(format!("a value is missing before `{word}`")),
            Some(word) => self.made(line, Kind::Name(word.to_owned())),
        }
    }

    /// What stands behind an opening parenthesis.
    fn arguments(&mut self, arguments: &mut Vec<Expression>) -> Parsed<()> {
        self.skip_blank();
        if self.take(")") {
            return Ok(());
        }
        loop {
            arguments.push(self.expression()?);
            self.skip_blank();
            if self.take(")") {
                return Ok(());
            }
            self.expect(",")?;
        }
    }

    fn call(&mut self, line: usize, word: &str, arguments: Vec<Expression>) -> Parsed<Expression> {
        let Some(helper) = Helper::ALL.iter().find(|helper| helper.as_str() == word) else {
            let names: Vec<&str> = Helper::ALL.iter().map(|helper| helper.as_str()).collect();
            return self.wrong(format!("{:?} is no function; there are {}", shown(word), names.join(", ")));
        };
        let (count, takes) = (arguments.len(), helper.takes());
        if !takes.contains(&count) {
            let most = takes.end();
            return self.wrong(format!("`{word}` has {count} arguments with what stands before `|`; it takes {most}"));
        }
        self.made(line, Kind::Call(*helper, arguments))
    }

    fn quoted(&mut self, quote: char) -> Parsed<String> {
        let line = self.line;
        let mut text = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        let mut lengths = None;
        while let Some((at, character)) = characters.next() {
            match character {
                end if end == quote => {
                    lengths = Some(at.saturating_add(1));
                    break;
                }
                '\\' => match characters.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, same @ ('\\' | '"' | '\''))) => text.push(same),
                    _ => {
                        return self
                            .wrong("a backslash in quotes stands before n, r, t, a quote or a backslash".into());
                    }
                },
                other => text.push(other),
            }
        }
        match lengths {
            Some(length) => {
                self.skip(length);
                Ok(text)
            }
            None => Err(InvalidMarkup::Syntax { line, problem: "quotes are not closed".into() }),
        }
    }

    fn both(
        &mut self,
        left: Expression,
        right: impl FnOnce(&mut Self) -> Parsed<Expression>,
        kind: impl FnOnce(Box<Expression>, Box<Expression>) -> Kind,
    ) -> Parsed<Expression> {
        let (line, right) = (left.line, right(self)?);
        self.made(line, kind(Box::new(left), Box::new(right)))
    }

    /// Counts what an expression is made of: long chains nest as deeply as parentheses do.
    fn made(&mut self, line: usize, kind: Kind) -> Parsed<Expression> {
        self.parts = self.parts.saturating_add(1);
        match self.parts > MAX_PARTS {
            true => self.wrong(format!("an expression has more than {MAX_PARTS} parts")),
            false => Ok(Expression { line, kind }),
        }
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_DEPTH {
            return self.wrong(format!("it is nested more than {MAX_DEPTH} times"));
        }
        self.depth = self.depth.saturating_add(1);
        let read = read(self);
        self.depth = self.depth.saturating_sub(1);
        read
    }

    // --- words and signs

    /// A name that something is to have.
    fn name(&mut self) -> Parsed<String> {
        self.skip_blank();
        match self.word() {
            Some(word) if !WORDS.contains(&word) && !matches!(word, "true" | "loop") => Ok(word.to_owned()),
            Some(word) => self.wrong(format!("{:?} cannot be a name", shown(word))),
            None => self.wrong("a name is missing".into()),
        }
    }

    fn word(&mut self) -> Option<&'t str> {
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(self.rest.len());
        let begins = self.rest.starts_with(|c: char| c.is_alphabetic() || c == '_');
        (begins && end > 0).then(|| self.skip(end))
    }

    fn take_word(&mut self, word: &str) -> bool {
        self.skip_blank();
        let is_next = self
            .rest
            .strip_prefix(word)
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'));
        if is_next {
            self.skip(word.len());
        }
        is_next
    }

    fn take(&mut self, sign: &str) -> bool {
        let is_next = self.rest.starts_with(sign);
        if is_next {
            self.skip(sign.len());
        }
        is_next
    }

    fn expect(&mut self, sign: &str) -> Parsed<()> {
        self.skip_blank();
        if self.take(sign) {
            return Ok(());
        }
        let next: String = self.rest.chars().take(1).collect();
        self.wrong(match next.as_str() {
            "" => format!("`{sign}` is missing at its end"),
            next => format!("`{sign}` is missing before {next:?}"),
        })
    }

    fn skip_blank(&mut self) {
        let blank = self.rest.len().saturating_sub(self.rest.trim_start().len());
        self.skip(blank);
    }

    /// Some bytes that are read now.
    fn skip(&mut self, length: usize) -> &'t str {
        let (read, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.line = self.line.saturating_add(read.bytes().filter(|byte| *byte == b'\n').count());
        self.rest = rest;
        read
    }

    fn wrong<T>(&self, problem: String) -> Parsed<T> {
        Err(self.problem(problem))
    }

    fn problem(&self, problem: String) -> InvalidMarkup {
        InvalidMarkup::Syntax { line: self.line, problem }
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
}

fn shown(word: &str) -> String {
    word.chars().take(SHOWN).collect()
}
