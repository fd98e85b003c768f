// Package iam says what the holder of an access key may do.
//
// It owns two things: policy documents (Parse makes one valid or refuses it,
// Decide answers a request) and access keys (NewKey makes one). It promises
// that a policy is either understood whole or refused whole: an element,
// operator or key that Decide would have to pass over is an error of Parse,
// never a statement that silently grants or withholds something.
//
// It stores nothing, does no I/O and knows neither HTTP nor the list of
// operations. It may import the standard library only.
package iam

import "slices"

// Request is one call to be decided. The zero value of each tag field means
// that the call carries no such tags.
type Request struct {
	// Action is service and operation, such as "ses:CreateAddressList".
	Action string
	// Resource is the ARN the call is about, or "*" for the operations that
	// name none.
	Resource string
	// RequestTags are the tags the call sets: the condition keys
	// aws:RequestTag/k, and, by their keys, aws:TagKeys.
	RequestTags map[string]string
	// TagKeys are the keys of tags the call sets or removes. They join the
	// keys of RequestTags as aws:TagKeys; naming a key in both does no harm.
	TagKeys []string
	// ResourceTags are the tags the resource has now: aws:ResourceTag/k.
	ResourceTags map[string]string
	// ExportSource is what an export job is of: ses:ExportSourceType. "" when the call
	// does not say.
	ExportSource string
}

// Decision is what a policy says about a request. The zero value refuses.
type Decision int

// The three answers of policy evaluation:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_AccessPolicyLanguage_Interplay.html
const (
	// ImplicitDeny: no statement applies.
	ImplicitDeny Decision = iota
	// Allow: an Allow statement applies and no Deny statement does.
	Allow
	// ExplicitDeny: a Deny statement applies, whatever else does.
	ExplicitDeny
)

// String returns the decision's name.
func (d Decision) String() string {
	switch d {
	case Allow:
		return "Allow"
	case ExplicitDeny:
		return "ExplicitDeny"
	default:
		return "ImplicitDeny"
	}
}

// Decide answers r. The order of statements makes no difference. It takes time
// proportional to the size of the policy times the size of the request.
func (p *Policy) Decide(r Request) Decision {
	decision := ImplicitDeny
	for _, s := range p.statements {
		if !s.applies(r) {
			continue
		}
		if s.deny {
			return ExplicitDeny
		}
		decision = Allow
	}
	return decision
}

// Unmatched gives the Action patterns of p that match none of actions, such as a
// misspelt one.
func (p *Policy) Unmatched(actions []string) (patterns []string) {
	for _, s := range p.statements {
		for _, pattern := range s.actions {
			matches := func(action string) bool { return match(pattern, lower(action)) }
			if !slices.ContainsFunc(actions, matches) {
				patterns = append(patterns, pattern)
			}
		}
	}
	return patterns
}

func (s statement) applies(r Request) bool {
	if !matchAny(s.actions, lower(r.Action)) || !matchAny(s.resources, r.Resource) {
		return false
	}
	for _, c := range s.conditions {
		if !c.holds(r) {
			return false
		}
	}
	return true
}
