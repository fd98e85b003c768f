package iam

import "unicode/utf8"

func matchAny(patterns []string, s string) bool {
	for _, p := range patterns {
		if match(p, s) {
			return true
		}
	}
	return false
}

// match reports whether the whole of s fits pattern, where '*' stands for any
// run of characters, also an empty one, and '?' for exactly one character.
// Neither stops at a colon or a slash.
//
// When a part fails to fit, only the last '*' is tried again one character
// further on: what earlier ones stand for need not change, as the last can
// take up whatever they leave. So the time is at most the product of the two
// lengths, however many '*' there are.
func match(pattern, s string) bool {
	p, i := 0, 0
	star, retry := -1, 0 // the last '*' in pattern, and where in s its run ends
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, retry = p, i
			p++
		case p < len(pattern) && pattern[p] == '?':
			_, size := utf8.DecodeRuneInString(s[i:])
			i += size
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			i++
			p++
		case star >= 0:
			_, size := utf8.DecodeRuneInString(s[retry:])
			retry += size
			i, p = retry, star+1
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// lower folds A-Z only: action names are ASCII, and a letter that merely folds
// to an ASCII one is not the same name.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + ('a' - 'A')
		}
	}
	return string(b)
}
