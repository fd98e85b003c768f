package address

// Reason says why an entry or a mailbox was refused. It is an error, compares
// with ==, and making one allocates nothing. The zero Reason refuses nothing
// and is never returned as an error.
type Reason uint8

// The reasons, each with its own code and sentence in the table below.
const (
	_ Reason = iota
	Empty
	TooShort
	TooLong
	NotUTF8
	ControlCharacter
	NoDomain
	TwoAtSigns
	LocalEmpty
	LocalTooLong
	LocalDot
	LocalCharacter
	LocalInvisible
	QuoteNotClosed
	QuoteMisplaced
	QuotedPairInvalid
	DomainLiteral
	DomainOneLabel
	DomainLabelEmpty
	DomainLabelTooLong
	DomainTooLong
	DomainHyphen
	DomainCharacter
	DomainNumeric
	DomainNotIDNA
	WildcardTwice
	WildcardMisplaced
	WildcardPrefixTooLong
	WildcardLevels
	WildcardQuoted

	reasons // how many there are, with the zero one
)

// Codes stand in logs and are read by programs: never change one.
var reasonText = [reasons]struct{ code, sentence string }{
	Empty:                 {"empty", "The entry is empty."},
	TooShort:              {"too_short", "The entry is shorter than 3 characters."},
	TooLong:               {"too_long", "The entry is longer than 320 characters."},
	NotUTF8:               {"not_utf8", "The entry is not valid UTF-8 text; save the file as UTF-8."},
	ControlCharacter:      {"control_character", "The entry holds a control character, such as a tab or a line break."},
	NoDomain:              {"no_domain", "There is no domain; write the local part, an @ sign and the domain, such as user@example.com."},
	TwoAtSigns:            {"two_at_signs", "There is more than one @ sign; an address has one, unless others stand in a quoted local part."},
	LocalEmpty:            {"local_part_empty", "There is nothing before the @ sign; for every address at a domain write the domain alone."},
	LocalTooLong:          {"local_part_too_long", "The part before the @ sign is longer than 64 octets."},
	LocalDot:              {"local_part_dot", "The part before the @ sign begins or ends with a dot, or has two dots in a row, and is not quoted."},
	LocalCharacter:        {"local_part_character", "The part before the @ sign holds a character that may not stand there unquoted; give the address alone, without a name or angle brackets."},
	LocalInvisible:        {"local_part_invisible_character", "The part before the @ sign holds a character that cannot be seen, such as a no-break space or a joiner."},
	QuoteNotClosed:        {"quote_not_closed", "The quoted local part has no closing quotation mark."},
	QuoteMisplaced:        {"quote_misplaced", "A quotation mark may only stand at the beginning and at the end of the part before the @ sign."},
	QuotedPairInvalid:     {"quoted_pair_invalid", "A backslash in a quoted local part must be followed by a printable ASCII character."},
	DomainLiteral:         {"domain_literal", "An IP address in brackets is not accepted; use a domain name."},
	DomainOneLabel:        {"domain_one_label", "A domain needs at least two labels, such as example.com."},
	DomainLabelEmpty:      {"domain_label_empty", "The domain begins with a dot or has two dots in a row."},
	DomainLabelTooLong:    {"domain_label_too_long", "A label of the domain is longer than 63 octets in its ASCII form."},
	DomainTooLong:         {"domain_too_long", "The domain is longer than 253 octets in its ASCII form."},
	DomainHyphen:          {"domain_label_hyphen", "A label of the domain begins or ends with a hyphen."},
	DomainCharacter:       {"domain_character", "The domain holds a character other than letters, digits, hyphens and dots."},
	DomainNumeric:         {"domain_numeric", "The last label of the domain is all digits; an IP address is not a domain."},
	DomainNotIDNA:         {"domain_not_idna", "The domain is not a valid internationalized domain name."},
	WildcardTwice:         {"wildcard_twice", "There is more than one *; an entry may have one."},
	WildcardMisplaced:     {"wildcard_misplaced", "A * may only be the last character before the @ sign, or the whole first label of the domain, as in us*@example.com or *.example.com."},
	WildcardPrefixTooLong: {"wildcard_prefix_too_long", "More than 19 characters stand before the *."},
	WildcardLevels:        {"wildcard_domain_levels", "The domain after *. must have 2 to 9 labels."},
	WildcardQuoted:        {"wildcard_quoted", "A quoted local part may not hold a *."},
}

// Code returns the reason's stable name in snake_case, such as
// "domain_label_too_long", or "" for a value that is no reason.
func (r Reason) Code() string {
	if r >= reasons {
		return ""
	}
	return reasonText[r].code
}

// Error returns one plain sentence for the person who wrote the entry. It never
// includes the value, so it may be logged.
func (r Reason) Error() string {
	if r == 0 || r >= reasons {
		return "The entry is not valid."
	}
	return reasonText[r].sentence
}

// Reasons returns every reason there is, in a fixed order, in a new slice.
func Reasons() []Reason {
	all := make([]Reason, 0, reasons-1)
	for r := Reason(1); r < reasons; r++ {
		all = append(all, r)
	}
	return all
}
