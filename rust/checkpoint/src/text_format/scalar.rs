//! The spellings of numbers and strings.

/// An integer as Python's `int(text, 0)` reads it: decimal, `0x`, `0o` or `0b`, a sign, single
/// underscores between digits; no leading zeros. `None` also for values beyond 127 bits.
pub(super) fn parse_integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let radix = match digits.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => 16,
        Some("0o") => 8,
        Some("0b") => 2,
        _ => 10,
    };
    // An underscore may also follow the prefix.
    let digits =
        if radix == 10 { digits } else { digits[2..].strip_prefix('_').unwrap_or(&digits[2..]) };
    let leading_zero = radix == 10 && digits.starts_with('0');
    if leading_zero && digits.contains(|digit| !matches!(digit, '0' | '_')) {
        return None;
    }
    magnitude(digits, radix).map(|value| if negative { -value } else { value })
}

/// Like [`parse_integer`], but a leading zero means octal, as in C.
pub(super) fn parse_c_integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    match digits.strip_prefix('0') {
        Some(octal) if !octal.is_empty() && octal.bytes().all(|digit| digit.is_ascii_digit()) => {
            magnitude(octal, 8).map(|value| if negative { -value } else { value })
        }
        _ => parse_integer(text),
    }
}

fn magnitude(digits: &str, radix: u32) -> Option<i128> {
    digits.split('_').try_fold(0i128, |value, group| {
        if group.is_empty() {
            return None;
        }
        group.chars().try_fold(value, |value, digit| {
            value.checked_mul(radix.into())?.checked_add(digit.to_digit(radix)?.into())
        })
    })
}

/// Whether the parser of protobuf takes this text for a floating-point number.
pub(super) fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let octal = unsigned.starts_with('0')
        && unsigned[1..].starts_with(|digit: char| digit.is_ascii_digit());
    if octal {
        return false;
    }
    let lower = unsigned.to_ascii_lowercase();
    is_python_float(text)
        || matches!(lower.as_str(), "inff" | "infinityf")
        || is_python_float(text.trim_end_matches(['f', 'F']))
}

/// Whether Python's `float(text)` reads this text.
fn is_python_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text).to_ascii_lowercase();
    if matches!(unsigned.as_str(), "inf" | "infinity" | "nan") {
        return true;
    }
    let (mantissa, exponent) = match unsigned.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned.as_str(), None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| {
        text.split('_')
            .all(|group| !group.is_empty() && group.bytes().all(|digit| digit.is_ascii_digit()))
    };
    let optional_digits = |text: &str| text.is_empty() || digits(text);
    optional_digits(whole)
        && optional_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|text| digits(text.strip_prefix(['-', '+']).unwrap_or(text)))
}

/// Whether a string with its quotes is closed and all its escapes are valid.
pub(super) fn check_string(text: &str) -> Result<(), &'static str> {
    let mut characters = text.chars();
    let quote = characters.next();
    if characters.next_back() != quote {
        return Err("expected a closing quote");
    }
    let mut rest = characters.as_str();
    while let Some(start) = rest.find('\\') {
        rest = skip_escape(&rest[start + 1..]).ok_or("expected a valid escape in the string")?;
    }
    Ok(())
}

/// What follows an escape; `None` if the escape is invalid.
fn skip_escape(rest: &str) -> Option<&str> {
    let mut characters = rest.chars();
    let first = characters.next()?;
    let after = characters.as_str();
    let digits = |count: usize, radix: u32| {
        after.chars().take(count).filter(|digit| digit.is_digit(radix)).count() == count
    };
    match first {
        'x' => digits(1, 16).then_some(after),
        'u' => skip_code_point(after, 4),
        'U' => skip_code_point(after, 8),
        // A named character, which needs the tables of Unicode.
        'N' => None,
        // Three octal digits from 4 up do not fit into a byte.
        '4'..='7' => (!digits(2, 8)).then_some(after),
        // An unknown escape stands for itself.
        _ => Some(after),
    }
}

fn skip_code_point(rest: &str, digits: usize) -> Option<&str> {
    let (code, rest) = rest.split_at_checked(digits)?;
    if !code.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    // A backslash spelled in this way would begin an escape itself.
    char::from_u32(u32::from_str_radix(code, 16).ok()?).filter(|&decoded| decoded != '\\')?;
    Some(rest)
}
