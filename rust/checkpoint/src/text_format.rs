//! The part of protobuf's text format that a `meta` needs, by the rules of protobuf's own Python
//! parser with unknown fields allowed:
//!
//! ```text
//! message VariableMetaInfo { required ShapeProto shape; required DataType data_type; }
//! message ShapeProto       { repeated int64 dim; }
//! ```
//!
//! Unknown fields are skipped, but must be well formed. Stricter than that parser in three
//! things: messages nest at most [`MAX_DEPTH`] deep, digits outside ASCII are no integers and no
//! part of an extension's name, and the escapes `\N{...}` and `\u005c` in strings of unknown
//! fields are refused.

use crate::format::{DataType, MAX_DIMENSIONS};
use crate::text_format::scalar::{is_float, parse_c_integer, parse_integer};
use crate::text_format::tokens::{Token, Tokens};

mod scalar;
mod tokens;

/// How deep unknown messages may nest.
const MAX_DEPTH: usize = 100;

/// The fields that were found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    /// The values of `dim`; none if there is no `shape`.
    pub(crate) dimensions: Vec<i64>,
    /// The value of `data_type`, if there is one.
    pub(crate) data_type: Option<DataType>,
}

type Parsed<T> = std::result::Result<T, String>;

/// Reads a text; the error says what is wrong in which line and column.
pub(crate) fn parse(text: &str) -> Parsed<Fields> {
    let mut parser = Parser { tokens: Tokens::new(text), fields: Fields::default() };
    parser.top_level()?;
    Ok(parser.fields)
}

struct Parser<'t> {
    tokens: Tokens<'t>,
    fields: Fields,
}

impl<'t> Parser<'t> {
    fn top_level(&mut self) -> Parsed<()> {
        let mut shape_seen = false;
        while !self.tokens.at_end() {
            match self.field_name()? {
                "shape" => {
                    self.take(":");
                    let close = self.open_message()?;
                    if std::mem::replace(&mut shape_seen, true) {
                        return self.fail("`shape` is given twice");
                    }
                    self.shape(close)?;
                }
                "data_type" => {
                    self.expect(":")?;
                    let data_type = self.data_type()?;
                    if self.fields.data_type.replace(data_type).is_some() {
                        return self.fail("`data_type` is given twice");
                    }
                }
                _ => self.skip_contents(1)?,
            }
            self.separator();
        }
        Ok(())
    }

    fn shape(&mut self, close: &str) -> Parsed<()> {
        while !self.take(close) {
            if self.tokens.at_end() {
                return self.fail(&format!("expected {close:?}"));
            }
            if self.field_name()? == "dim" {
                self.expect(":")?;
                self.list_or_value(Self::dimension)?;
            } else {
                self.skip_contents(2)?;
            }
            self.separator();
        }
        Ok(())
    }

    fn dimension(&mut self) -> Parsed<()> {
        let value = parse_c_integer(self.text()).and_then(|value| i64::try_from(value).ok());
        let Some(value) = value else {
            return self.fail("expected a 64-bit integer");
        };
        if self.fields.dimensions.len() == MAX_DIMENSIONS {
            return self.fail(&format!("more than {MAX_DIMENSIONS} dimensions"));
        }
        self.fields.dimensions.push(value);
        self.tokens.advance();
        Ok(())
    }

    fn data_type(&mut self) -> Parsed<DataType> {
        let text = self.text();
        let found = match parse_integer(text) {
            Some(number) => DataType::from_number(number),
            None => DataType::from_name(text),
        };
        let Some(data_type) = found else {
            let names: Vec<_> = DataType::ALL.iter().map(|data_type| data_type.name()).collect();
            return self.fail(&format!("expected a data type, one of {}", names.join(", ")));
        };
        self.tokens.advance();
        Ok(data_type)
    }

    /// The value of an unknown field: `: scalar`, `: [values]`, or a message with or without `:`.
    fn skip_contents(&mut self, depth: usize) -> Parsed<()> {
        let colon = self.take(":");
        if !colon || matches!(self.text(), "{" | "<") {
            self.skip_message(depth)
        } else {
            self.skip_value(depth)
        }
    }

    fn skip_value(&mut self, depth: usize) -> Parsed<()> {
        if self.text() != "[" {
            return self.skip_scalar();
        }
        self.list_or_value(|parser| match parser.text() {
            "{" | "<" => parser.skip_message(depth),
            _ => parser.skip_scalar(),
        })
    }

    fn skip_message(&mut self, depth: usize) -> Parsed<()> {
        if depth > MAX_DEPTH {
            return self.fail(&format!("messages nest deeper than {MAX_DEPTH}"));
        }
        let close = self.open_message()?;
        while !matches!(self.text(), "}" | ">") {
            self.skip_name()?;
            self.skip_contents(depth + 1)?;
            self.separator();
        }
        self.expect(close)
    }

    /// A field name inside an unknown message: may be an extension `[a.b]` or a type `[a.b.c/d.e]`.
    fn skip_name(&mut self) -> Parsed<()> {
        if !self.take("[") {
            return self.field_name().map(drop);
        }
        let parts = self.dotted_identifiers()?;
        if parts == 3 && self.take("/") {
            self.dotted_identifiers()?;
        }
        self.expect("]")
    }

    fn dotted_identifiers(&mut self) -> Parsed<usize> {
        let mut parts = 0;
        loop {
            let Token::Identifier(_) = self.tokens.current() else {
                return self.fail("expected an identifier");
            };
            self.tokens.advance();
            parts += 1;
            if !self.take(".") {
                return Ok(parts);
            }
        }
    }

    fn skip_scalar(&mut self) -> Parsed<()> {
        match self.tokens.current() {
            Token::String(_) => {
                // Adjacent strings are one value.
                while let Token::String(text) = self.tokens.current() {
                    scalar::check_string(text).or_else(|reason| self.fail(reason))?;
                    self.tokens.advance();
                }
                return Ok(());
            }
            Token::Identifier(_) => {}
            Token::Number(text) if parse_c_integer(text).is_some_and(fits_64_bits) => {}
            Token::Number(text) if is_float(text) || !text.is_ascii() => {}
            _ => return self.fail("expected a value"),
        }
        self.tokens.advance();
        Ok(())
    }

    /// `value` or `[value, value]`.
    fn list_or_value(&mut self, value: impl Fn(&mut Self) -> Parsed<()>) -> Parsed<()> {
        if !self.take("[") {
            return value(self);
        }
        if self.take("]") {
            return Ok(());
        }
        loop {
            value(self)?;
            if self.take("]") {
                return Ok(());
            }
            self.expect(",")?;
        }
    }

    fn field_name(&mut self) -> Parsed<&'t str> {
        let name = match self.tokens.current() {
            Token::Identifier(text) => text,
            // Fields may be called by their number, which is unknown here like any other name.
            Token::Number(text) if text.starts_with(char::is_numeric) => text,
            _ => return self.fail("expected a field name"),
        };
        self.tokens.advance();
        Ok(name)
    }

    fn open_message(&mut self) -> Parsed<&'static str> {
        if self.take("<") {
            return Ok(">");
        }
        self.expect("{")?;
        Ok("}")
    }

    fn separator(&mut self) {
        if !self.take(",") {
            self.take(";");
        }
    }

    fn text(&self) -> &'t str {
        self.tokens.current().text()
    }

    fn take(&mut self, symbol: &str) -> bool {
        let found = self.text() == symbol;
        if found {
            self.tokens.advance();
        }
        found
    }

    fn expect(&mut self, symbol: &str) -> Parsed<()> {
        if self.take(symbol) { Ok(()) } else { self.fail(&format!("expected {symbol:?}")) }
    }

    fn fail<T>(&self, reason: &str) -> Parsed<T> {
        let (line, column) = self.tokens.position();
        let found = match self.text() {
            "" => "the end of the text".to_owned(),
            text => format!("{:?}", text.chars().take(40).collect::<String>()),
        };
        Err(format!("line {line}, column {column}: {reason}, found {found}"))
    }
}

fn fits_64_bits(value: i128) -> bool {
    i64::try_from(value).is_ok() || u64::try_from(value).is_ok()
}
