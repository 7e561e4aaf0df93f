//! Splits a text into tokens.

/// A piece of text; at the end of the text, [`Token::End`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'t> {
    /// Letters, digits, `_`, `+`, `-`, not beginning with a digit; or one letter beyond ASCII.
    Identifier(&'t str),
    /// Begins like a number, whether it is one or not; or one digit beyond ASCII.
    Number(&'t str),
    /// A string with its quotes; the last may be missing.
    String(&'t str),
    /// Any other single character.
    Symbol(&'t str),
    /// Nothing is left.
    End,
}

impl<'t> Token<'t> {
    pub(super) const fn text(self) -> &'t str {
        match self {
            Self::Identifier(text)
            | Self::Number(text)
            | Self::String(text)
            | Self::Symbol(text) => text,
            Self::End => "",
        }
    }
}

/// A position in a text, and the token there.
pub(super) struct Tokens<'t> {
    text: &'t str,
    start: usize,
    current: Token<'t>,
}

impl<'t> Tokens<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let mut tokens = Self { text, start: 0, current: Token::End };
        tokens.advance();
        tokens
    }

    pub(super) const fn current(&self) -> Token<'t> {
        self.current
    }

    pub(super) fn at_end(&self) -> bool {
        self.current == Token::End
    }

    pub(super) fn advance(&mut self) {
        let rest = &self.text[self.start + self.current.text().len()..];
        let rest = skip_blank(rest);
        self.start = self.text.len() - rest.len();
        self.current = next_token(rest);
    }

    /// Line and column of the current token, counted from 1.
    pub(super) fn position(&self) -> (usize, usize) {
        let before = &self.text[..self.start];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|&character| character != '\n').count() + 1;
        (line, column)
    }
}

/// Skips white space and comments, which reach from `#` to the end of the line.
fn skip_blank(mut rest: &str) -> &str {
    loop {
        rest = rest.trim_start_matches(is_blank);
        if !rest.starts_with('#') {
            return rest;
        }
        rest = rest.find('\n').map_or("", |end| &rest[end..]);
    }
}

fn is_blank(character: char) -> bool {
    // Python counts the four separators of ASCII as white space as well.
    character.is_whitespace() || ('\x1c'..='\x1f').contains(&character)
}

fn next_token(rest: &str) -> Token<'_> {
    let mut characters = rest.chars();
    let Some(first) = characters.next() else { return Token::End };
    let second = characters.next();
    let while_in = |allowed: fn(char) -> bool| {
        let length = rest.find(|character| !allowed(character)).unwrap_or(rest.len());
        &rest[..length]
    };
    match first {
        'a'..='z' | 'A'..='Z' | '_' => Token::Identifier(while_in(is_in_identifier)),
        '0'..='9' | '+' | '-' => Token::Number(while_in(is_in_number)),
        '.' if second.is_some_and(|second| second.is_ascii_digit()) => {
            Token::Number(while_in(is_in_number))
        }
        '"' | '\'' => Token::String(quoted(rest, first)),
        _ if !first.is_ascii() && first.is_alphabetic() => {
            Token::Identifier(&rest[..first.len_utf8()])
        }
        _ if !first.is_ascii() && first.is_numeric() => Token::Number(&rest[..first.len_utf8()]),
        _ => Token::Symbol(&rest[..first.len_utf8()]),
    }
}

const fn is_in_identifier(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '+' | '-')
}

const fn is_in_number(character: char) -> bool {
    is_in_identifier(character) || character == '.'
}

/// The string that `rest` begins with, to its closing quote or the end of the line.
fn quoted(rest: &str, quote: char) -> &str {
    let mut escaped = false;
    for (index, character) in rest.char_indices().skip(1) {
        match character {
            '\n' => return &rest[..index],
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return &rest[..=index],
            _ => {}
        }
    }
    rest
}
