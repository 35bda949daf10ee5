use proptest::prelude::*;

use super::*;

/// The statements in one line of text, `section.name=value`.
fn shown(file: &str) -> String {
    let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\n', "\\n");
    let statements = match parse(file.as_bytes()) {
        Ok(statements) => statements,
        Err(malformed) => return malformed.to_string(),
    };
    let texts = statements.iter().map(|statement| match &statement.kind {
        Kind::Set {
            section,
            name,
            value,
        } => format!("{}.{}={}", show(section), show(name), show(value)),
        Kind::Unset { section, name } => format!("-{}.{}", show(section), show(name)),
        Kind::Include(path) => format!("<{}", show(path)),
    });
    texts.collect::<Vec<_>>().join("; ")
}

#[test]
fn keys_belong_to_the_section_above_them() {
    assert_eq!(
        shown("[web]\nname = x\n[phases]\npublish=no"),
        "web.name=x; phases.publish=no"
    );
    assert_eq!(shown("name = x\n"), ".name=x");
    assert_eq!(shown("[web] trailing\na=1\n"), "web.a=1");
    assert_eq!(shown("[a]b]\na=1\n"), "a]b.a=1");
    assert_eq!(shown("[a = b\n"), ".[a=b");
    assert_eq!(shown("[a[b]\na=1\n"), "line 1: neither key nor heading");
}

#[test]
fn white_space_around_names_and_values_is_dropped() {
    assert_eq!(shown("[s]\na b\t =  c  d \t\n"), "s.a b=c  d");
    assert_eq!(shown("[s]\na=\n"), "s.a=");
    assert_eq!(shown("[s]\na = b = c\n"), "s.a=b = c");
}

#[test]
fn a_value_has_no_comment() {
    assert_eq!(shown("[s]\na = b # c ; d\n"), "s.a=b # c ; d");
    assert_eq!(shown("# c\n; d\n\n[s]\n"), "");
}

#[test]
fn indented_lines_continue_a_value_over_comments() {
    assert_eq!(
        shown("[s]\na = b\n  c\n# no\n\td # e\n"),
        "s.a=b\\nc\\nd # e"
    );
    assert_eq!(shown("[s]\na =\n  b\n"), "s.a=\\nb");
    assert_eq!(shown("[s]\na = b\n  c = d\n"), "s.a=b\\nc = d");
}

#[test]
fn an_empty_line_ends_a_value() {
    assert_eq!(
        shown("[s]\na = b\n\n  c\n"),
        "line 4: an indented line continues no value"
    );
    assert_eq!(
        shown("[s]\n  a = b\n"),
        "line 2: an indented line continues no value"
    );
}

#[test]
fn directives_stand_at_the_beginning_of_a_line() {
    assert_eq!(shown("[s]\n%include  a b \n%unset c d\n"), "<a b; -s.c");
    assert_eq!(shown("%includes = 1\n"), ".%includes=1");
    assert_eq!(shown("%include\n"), "line 1: neither key nor heading");
    assert_eq!(shown("[s]\na=1\n %unset a\n"), "s.a=1\\n%unset a");
}

#[test]
fn every_end_of_line_and_a_byte_order_mark_are_known() {
    assert_eq!(
        shown("\u{feff}[s]\r\na=1\rb=2\r\n\r\nc=3"),
        "s.a=1; s.b=2; s.c=3"
    );
    assert_eq!(parse(b"a=1\r\n\r\nb=2").unwrap()[1].line, 3);
}

#[test]
fn a_line_that_is_no_statement_refuses_the_file_without_showing_it() {
    assert_eq!(
        shown("[s]\nroot:x:0:0\n"),
        "line 2: neither key nor heading"
    );
    assert_eq!(shown("= x\n"), "line 1: neither key nor heading");
    assert_eq!(shown("[]\n"), "line 1: neither key nor heading");
}

proptest! {
    #[test]
    fn any_bytes_are_statements_or_an_error(file in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&file);
    }

    #[test]
    fn what_is_written_is_read_back(
        section in "[a-z]{1,8}", name in "[a-z][a-z. -]{0,8}[a-z]", value in "([!-~]([ -~]{0,20}[!-~])?)?",
    ) {
        let file = format!("[{section}]\n{name} = {value}\n");
        prop_assert_eq!(shown(&file), format!("{section}.{name}={value}"));
    }
}
