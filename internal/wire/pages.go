package wire

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
)

// Pages makes and opens page tokens. A token is opaque, and good only for the
// caller's account, the operation and the arguments that it was made for.
type Pages struct {
	// Seal and Unseal are keyfile.Key's.
	Seal   func(purpose string, plaintext, binding []byte) []byte
	Unseal func(purpose string, sealed, binding []byte) ([]byte, error)
}

const pagePurpose = "page token"

// Token is the token of the page behind cursor; nil when cursor is "". arguments
// are those of the listing, without token and page size.
func (p Pages) Token(c Caller, operation string, arguments any, cursor string) *string {
	if cursor == "" {
		return nil
	}
	sealed := p.Seal(pagePurpose, []byte(cursor), binding(c, operation, arguments))
	token := base64.RawURLEncoding.EncodeToString(sealed)
	return &token
}

// Cursor gives what Token was given; "" for no token. A token that was not made
// for this listing is refused with ValidationException.
func (p Pages) Cursor(c Caller, operation string, arguments any, token *string) (string, error) {
	if token == nil {
		return "", nil
	}
	sealed, err := base64.RawURLEncoding.DecodeString(*token)
	if err != nil {
		return "", errPageToken()
	}
	cursor, err := p.Unseal(pagePurpose, sealed, binding(c, operation, arguments))
	if err != nil {
		return "", errPageToken()
	}
	return string(cursor), nil
}

func errPageToken() *Error {
	return Errorf("ValidationException", "The NextToken is not one that this operation gave for these arguments. Start again without it.")
}

func binding(c Caller, operation string, arguments any) []byte {
	text, err := json.Marshal([]any{c.Account, operation, arguments})
	if err != nil {
		panic("wire: arguments of a listing do not encode: " + err.Error())
	}
	digest := sha256.Sum256(text)
	return digest[:]
}
