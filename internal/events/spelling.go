package events

import (
	"strings"
	"unicode"
)

// UpperSnake spells a name of SES's event publishing as its API does: OnAccountSuppressionList
// is ON_ACCOUNT_SUPPRESSION_LIST there. That other sub-types are so too is chosen.
func UpperSnake(s string) string {
	var b strings.Builder
	letters := []rune(s)
	for i, c := range letters {
		if c == ' ' || c == '-' {
			c = '_'
		}
		if i > 0 && unicode.IsUpper(c) {
			before := letters[i-1]
			wordEnds := unicode.IsLower(before) || unicode.IsDigit(before)
			acronymEnds := unicode.IsUpper(before) && i+1 < len(letters) && unicode.IsLower(letters[i+1])
			if wordEnds || acronymEnds {
				b.WriteByte('_')
			}
		}
		b.WriteRune(unicode.ToUpper(c))
	}
	return b.String()
}
