package importfile

import (
	"bytes"
	"unicode/utf8"
)

// found describes a first line that is not what was asked for: the line, and
// what kind of file begins like that.
func found(line []byte, asked Format) string {
	s := `"` + printable(bytes.TrimRight(line, "\r")) + `"`
	if kind := looksLike(line, asked); kind != "" {
		s += ", which looks like " + kind
	}
	return s
}

// looksLike names the kind of file that begins with line, if it is one that
// people upload by mistake. Without a format asked for it names only what can
// be neither of the two.
func looksLike(line []byte, asked Format) string {
	starts := func(magic string) bool { return bytes.HasPrefix(line, []byte(magic)) }
	switch {
	case starts("PK\x03\x04"), starts("PK\x05\x06"):
		return "a zip archive or an .xlsx spreadsheet: save the sheet as CSV"
	case starts("\xd0\xcf\x11\xe0"):
		return "an .xls spreadsheet: save the sheet as CSV"
	case starts("%PDF-"):
		return "a PDF document"
	case starts(`{\rtf`):
		return "an RTF document"
	case starts("\x1f\x8b"), len(line) >= 4 && isZstd(line[:4]):
		return "data that was compressed twice"
	case starts("BZh"), starts("\xfd7zXZ"), starts("7z\xbc\xaf"):
		return "a compressed file of another kind: use gzip or zstd"
	case len(line) >= 2 && (line[0] == 0) != (line[1] == 0):
		return "UTF-16 without a byte order mark: save the file as UTF-8"
	}
	text := bytes.TrimSpace(line)
	switch {
	case len(text) > 0 && text[0] == '<':
		return "HTML or XML"
	case asked == CSV && bytes.IndexByte(text, '\r') >= 0:
		return "a file whose lines end in a carriage return alone: save it with line feeds"
	case asked == CSV && len(text) > 0 && (text[0] == '{' || text[0] == '['):
		return "JSON: create the import job with the import data type JSON"
	case asked == JSON && len(text) > 0 && text[0] == '{':
		return `the objects of SES v2 imports: here the member is named "address"`
	case asked == JSON && utf8.Valid(text) && bytes.IndexByte(text, 0) < 0:
		return "CSV: create the import job with the import data type CSV"
	}
	return ""
}
