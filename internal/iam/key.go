package iam

import (
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Key is one access key: who signs with it, and what they may do. Printed or
// logged it shows as its ID, so that the secret stays out of logs.
type Key struct {
	// ID names the key in a request's credential: 20 characters A-Z, 2-7.
	ID string
	// Account is the 12 digits of the account the key belongs to.
	Account string
	// Name is what people call the key; it may be empty.
	Name string
	// Policy is the key's policy document as it was given; Parse accepts it.
	Policy string
	// Disabled keys sign nothing.
	Disabled bool
	// Created is when the key was made, UTC.
	Created time.Time
	// Secret is what requests are signed with: 40 characters of base64.
	Secret string
}

// NewKey makes an enabled access key with a fresh ID (90 random bits) and
// secret (240). random is crypto/rand's Reader, outside tests; account has 12
// digits; name is empty or a user name of 1 to 64 letters, digits and "+=,.@_-"
// (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html#reference_iam-quotas-names);
// policy is a document Parse accepts. It returns an error that says which of
// them is wrong, or random's error. Whether the ID is new is for the store to
// see.
func NewKey(random io.Reader, account, name, policy string, now time.Time) (Key, error) {
	if !isAccount(account) {
		return Key{}, fmt.Errorf("account %.40q is not 12 digits", account)
	}
	if len(name) > 64 || !only(name, "+=,.@_-") {
		return Key{}, fmt.Errorf("key name %.80q is not at most 64 letters, digits and +=,.@_-", name)
	}
	if _, err := Parse([]byte(policy)); err != nil {
		return Key{}, fmt.Errorf("policy of key %q: %w", name, err)
	}
	var id [12]byte
	if _, err := io.ReadFull(random, id[:]); err != nil {
		return Key{}, fmt.Errorf("make access key ID: %w", err)
	}
	var secret [30]byte
	if _, err := io.ReadFull(random, secret[:]); err != nil {
		return Key{}, fmt.Errorf("make secret access key: %w", err)
	}
	return Key{
		ID:      "SK" + base32.StdEncoding.EncodeToString(id[:])[:18],
		Account: account,
		Name:    name,
		Policy:  policy,
		Created: now.UTC(),
		Secret:  base64.StdEncoding.EncodeToString(secret[:]), // 30 bytes need no padding
	}, nil
}

// ARN returns what AWS would call the key's holder: the IAM user by the key's
// name, or by its ID if it has none.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-arns
func (k Key) ARN() string {
	user := k.Name
	if user == "" {
		user = k.ID
	}
	return "arn:aws:iam::" + k.Account + ":user/" + user
}

// Format writes the key's ID, whatever the verb, and never its secret.
func (k Key) Format(f fmt.State, _ rune) { io.WriteString(f, k.ID) }

// LogValue returns the key's ID.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.ID) }

func isAccount(s string) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(s) == 12
}
