package iam

import (
	"strings"
	"testing"
)

const (
	list1 = "arn:aws:ses:us-east-1:111122223333:mailmanager-address-list/al-1"
	list2 = "arn:aws:ses:us-east-1:111122223333:mailmanager-address-list/al-2"
)

func mustParse(t *testing.T, doc string) *Policy {
	t.Helper()
	p, err := Parse([]byte(doc))
	if err != nil {
		t.Fatalf("Parse(%s): %v", doc, err)
	}
	return p
}

func TestDecide(t *testing.T) {
	const (
		administrator = AdministratorPolicy
		reader        = `{"Statement":{"Effect":"Allow","Action":["ses:Get*","SES:listmembers?faddresslist"],"Resource":"arn:aws:ses:*:111122223333:mailmanager-address-list/*"}}`
		oneList       = `{"Statement":{"Effect":"Allow","Action":"ses:*","Resource":"` + list1 + `"}}`
		cutShort      = `{"Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:ses:us-*"}}`
		allButDelete  = `{"Statement":[{"Effect":"Deny","Action":"ses:Delete*","Resource":"*"},{"Effect":"Allow","Action":"ses:*","Resource":"*"}]}`
		deleteLast    = `{"Statement":[{"Effect":"Allow","Action":"ses:*","Resource":"*"},{"Effect":"Deny","Action":"ses:Delete*","Resource":"*"}]}`
		onlyDeny      = `{"Statement":{"Effect":"Deny","Action":"ses:Delete*","Resource":"*"}}`
		twoAllows     = `{"Statement":[{"Effect":"Allow","Action":"ses:GetAddressList","Resource":"` + list1 + `"},{"Effect":"Allow","Action":"ses:DeleteAddressList","Resource":"` + list2 + `"}]}`
	)
	tests := []struct {
		name, policy, action, resource string
		want                           Decision
	}{
		{"administrator", administrator, "ses:DeleteAddressList", list1, Allow},
		{"administrator, no resource", administrator, "ses:ListAddressLists", "*", Allow},
		{"action by prefix", reader, "ses:GetAddressList", list1, Allow},
		{"action in another case", reader, "SES:GETaddresslist", list1, Allow},
		{"action by question mark", reader, "ses:ListMembersOfAddressList", list1, Allow},
		{"other action", reader, "ses:DeleteAddressList", list1, ImplicitDeny},
		{"action with more before it", reader, "xses:GetAddressList", list1, ImplicitDeny},
		{"folding letter is not the ASCII one", `{"Statement":{"Effect":"Allow","Action":"ses:k","Resource":"*"}}`, "ses:\u212a", list1, ImplicitDeny},
		{"resource in any region", reader, "ses:GetAddressList", strings.Replace(list1, "us-east-1", "eu-west-1", 1), Allow},
		{"resource of another account", reader, "ses:GetAddressList", strings.Replace(list1, "1111", "2222", 1), ImplicitDeny},
		{"resource in another case", oneList, "ses:GetAddressList", strings.ToUpper(list1), ImplicitDeny},
		{"the resource", oneList, "ses:GetAddressList", list1, Allow},
		{"another resource", oneList, "ses:GetAddressList", list2, ImplicitDeny},
		{"longer resource", oneList, "ses:GetAddressList", list1 + "0", ImplicitDeny},
		{"ARN pattern and no resource", oneList, "ses:ListAddressLists", "*", ImplicitDeny},
		{"star across colons", cutShort, "ses:GetAddressList", list1, Allow},
		{"star across colons, other beginning", cutShort, "ses:GetAddressList", strings.Replace(list1, "us-east-1", "eu-west-1", 1), ImplicitDeny},
		{"denied first", allButDelete, "ses:DeleteAddressList", list1, ExplicitDeny},
		{"denied last", deleteLast, "ses:DeleteAddressList", list1, ExplicitDeny},
		{"not denied", allButDelete, "ses:GetAddressList", list1, Allow},
		{"neither", onlyDeny, "ses:GetAddressList", list1, ImplicitDeny},
		{"nothing to allow", onlyDeny, "ses:DeleteAddressList", list1, ExplicitDeny},
		{"one statement's action, the other's resource", twoAllows, "ses:GetAddressList", list2, ImplicitDeny},
		{"second statement", twoAllows, "ses:DeleteAddressList", list2, Allow},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := mustParse(t, tt.policy)
			if got := p.Decide(Request{Action: tt.action, Resource: tt.resource}); got != tt.want {
				t.Errorf("Decide(%s, %s) = %v, want %v\n%s", tt.action, tt.resource, got, tt.want, tt.policy)
			}
		})
	}
	var zero Policy
	if got := zero.Decide(Request{Action: "ses:GetAddressList", Resource: "*"}); got != ImplicitDeny {
		t.Errorf("the zero policy decides %v", got)
	}
}

// A condition is met or not; each case is tried under Allow and under Deny.
func TestConditions(t *testing.T) {
	type tags = map[string]string
	reqTag := func(k, v string) Request { return Request{RequestTags: tags{k: v}} }
	resTag := func(k, v string) Request { return Request{ResourceTags: tags{k: v}} }
	keys := func(k ...string) Request { return Request{TagKeys: k} }
	none := Request{}

	// Conditions and answers of the first two groups are those of
	// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition_examples-multi-valued-context-keys.html
	const (
		allNotLike1 = `"ForAllValues:StringNotLike":{"aws:TagKeys":"key1*"}`
		allNotLike2 = `"ForAllValues:StringNotLike":{"aws:TagKeys":["key1*","key2*"]}`
		allLike     = `"Null":{"aws:TagKeys":"false"},"ForAllValues:StringLike":{"aws:TagKeys":["key1*","key2*","key3*"]}`
		allLikeOnly = `"ForAllValues:StringLike":{"aws:TagKeys":["key1*","key2*","key3*"]}`
		anyEquals   = `"ForAnyValue:StringEquals":{"aws:TagKeys":["environment","webserver"]}`
		anyNotLike  = `"ForAnyValue:StringNotLike":{"aws:TagKeys":["key1*","key2*"]}`

		equals     = `"StringEquals":{"aws:RequestTag/team":["red","blue"]}`
		notEquals  = `"StringNotEquals":{"aws:RequestTag/team":["red","blue"]}`
		equalsIf   = `"StringEqualsIfExists":{"aws:RequestTag/team":["red","blue"]}`
		notIf      = `"StringNotEqualsIfExists":{"aws:RequestTag/team":["red","blue"]}`
		fold       = `"StringEqualsIgnoreCase":{"aws:ResourceTag/team":"Rot"}`
		notFold    = `"StringNotEqualsIgnoreCase":{"aws:ResourceTag/team":"Rot"}`
		like       = `"StringLike":{"aws:ResourceTag/team":["r?d","b*"]}`
		notLike    = `"StringNotLike":{"aws:ResourceTag/team":["r?d","b*"]}`
		star       = `"StringEquals":{"aws:ResourceTag/team":"*"}`
		empty      = `"StringEquals":{"aws:ResourceTag/team":""}`
		absent     = `"Null":{"aws:ResourceTag/team":"true"}`
		present    = `"Null":{"aws:ResourceTag/team":false}`
		noKeys     = `"Null":{"aws:TagKeys":true}`
		both       = `"StringEquals":{"aws:RequestTag/a":"1","aws:RequestTag/b":"2"}`
		twoOps     = `"StringLike":{"aws:RequestTag/a":"1*"},"StringNotEquals":{"aws:RequestTag/a":"13"}`
		allOfOne   = `"ForAllValues:StringEquals":{"aws:RequestTag/team":"red"}`
		anyOfOne   = `"ForAnyValue:StringEquals":{"aws:RequestTag/team":"red"}`
		otherCase  = `"StringEquals":{"AWS:resourcetag/team":"red"}`
		allIfExist = `"ForAllValues:StringEqualsIfExists":{"aws:TagKeys":"a"}`
		anyFold    = `"ForAnyValue:StringEqualsIgnoreCase":{"aws:TagKeys":"Owner"}`
	)
	tests := []struct {
		name, condition string
		request         Request
		met             bool
	}{
		{"all not like: none is other", allNotLike1, keys("key1:legal"), false},
		{"all not like: several, none other", allNotLike1, keys("key1:hr", "key1:personnel"), false},
		{"all not like: other", allNotLike1, keys("key2:audit"), true},
		{"all not like: mixed", allNotLike1, keys("key2:audit", "key1:hr"), false},
		{"all not like: missing", allNotLike1, none, true},
		{"all not like two: both", allNotLike2, keys("key1:legal", "key2:audit"), false},
		{"all not like two: first and other", allNotLike2, keys("key1:legal", "key3:x"), false},
		{"all not like two: other", allNotLike2, keys("key3:x", "key4:y"), true},
		{"all not like two: missing", allNotLike2, none, true},
		{"all like: one", allLike, keys("key2:x"), true},
		{"all like: several", allLike, keys("key1:x", "key2:y", "key3:z"), true},
		{"all like: one other", allLike, keys("key1:x", "key4:y"), false},
		{"all like: missing, with Null", allLike, none, false},
		{"all like: missing, without Null", allLikeOnly, none, true},
		{"any equals: one of them", anyEquals, keys("cost", "webserver"), true},
		{"any equals: other", anyEquals, keys("cost"), false},
		{"any equals: missing", anyEquals, none, false},
		{"any not like: none other", anyNotLike, keys("key1:x", "key2:y"), false},
		{"any not like: one other", anyNotLike, keys("key1:x", "key3:y"), true},
		{"any not like: missing", anyNotLike, none, false},

		{"equals: first", equals, reqTag("team", "red"), true},
		{"equals: second", equals, reqTag("team", "blue"), true},
		{"equals: other", equals, reqTag("team", "green"), false},
		{"equals: other case", equals, reqTag("team", "Red"), false},
		{"equals: missing", equals, none, false},
		{"equals: key in another case", equals, reqTag("Team", "red"), true},
		{"equals: on the resource only", equals, resTag("team", "red"), false},
		{"not equals: first", notEquals, reqTag("team", "red"), false},
		{"not equals: second", notEquals, reqTag("team", "blue"), false},
		{"not equals: other", notEquals, reqTag("team", "green"), true},
		{"not equals: missing", notEquals, none, true},
		{"equals if exists: same", equalsIf, reqTag("team", "blue"), true},
		{"equals if exists: other", equalsIf, reqTag("team", "green"), false},
		{"equals if exists: missing", equalsIf, none, true},
		{"not equals if exists: same", notIf, reqTag("team", "blue"), false},
		{"not equals if exists: other", notIf, reqTag("team", "green"), true},
		{"not equals if exists: missing", notIf, none, true},
		{"ignore case: same", fold, resTag("team", "rOT"), true},
		{"ignore case: other", fold, resTag("team", "rote"), false},
		{"ignore case: missing", fold, none, false},
		{"not, ignoring case: same", notFold, resTag("team", "rOT"), false},
		{"not, ignoring case: other", notFold, resTag("team", "rote"), true},
		{"not, ignoring case: missing", notFold, none, true},
		{"like: question mark", like, resTag("team", "rad"), true},
		{"like: star", like, resTag("team", "b"), true},
		{"like: other", like, resTag("team", "read"), false},
		{"like: other case", like, resTag("team", "Red"), false},
		{"like: missing", like, none, false},
		{"not like: same", notLike, resTag("team", "rad"), false},
		{"not like: other", notLike, resTag("team", "read"), true},
		{"not like: missing", notLike, none, true},
		{"equals knows no wildcard", star, resTag("team", "red"), false},
		{"equals a star", star, resTag("team", "*"), true},
		{"empty value", empty, resTag("team", ""), true},
		{"empty value is not a missing one", empty, none, false},
		{"absent: missing", absent, none, true},
		{"absent: there", absent, resTag("team", "red"), false},
		{"absent: empty", absent, resTag("team", ""), false},
		{"present: missing", present, none, false},
		{"present: there", present, resTag("team", "red"), true},
		{"no keys: none", noKeys, none, true},
		{"no keys: one removed", noKeys, keys("a"), false},
		{"no keys: one set", noKeys, reqTag("a", "1"), false},
		{"no keys: resource has one", noKeys, resTag("a", "1"), true},
		{"two keys: both", both, Request{RequestTags: tags{"a": "1", "b": "2"}}, true},
		{"two keys: first", both, Request{RequestTags: tags{"a": "1", "b": "1"}}, false},
		{"two keys: second", both, Request{RequestTags: tags{"b": "2"}}, false},
		{"two operators: both", twoOps, reqTag("a", "12"), true},
		{"two operators: first", twoOps, reqTag("a", "13"), false},
		{"two operators: second", twoOps, reqTag("a", "2"), false},
		{"all of a single value: same", allOfOne, reqTag("team", "red"), true},
		{"all of a single value: other", allOfOne, reqTag("team", "blue"), false},
		{"all of a single value: missing", allOfOne, none, true},
		{"any of a single value: same", anyOfOne, reqTag("team", "red"), true},
		{"any of a single value: missing", anyOfOne, none, false},
		{"key name in another case", otherCase, resTag("team", "red"), true},
		{"tag key in another case", otherCase, resTag("TEAM", "red"), true},
		{"all, if exists: missing", allIfExist, none, true},
		{"all, if exists: other", allIfExist, keys("a", "b"), false},
		{"tag keys come from request tags too", allIfExist, Request{RequestTags: tags{"b": "1"}, TagKeys: []string{"a"}}, false},
		{"any, ignoring case: same", anyFold, keys("x", "OWNER"), true},
		{"any, ignoring case: other", anyFold, keys("x"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.request
			r.Action, r.Resource = "ses:TagResource", list1
			for _, effect := range []string{"Allow", "Deny"} {
				p := mustParse(t, `{"Statement":{"Effect":"`+effect+`","Action":"*","Resource":"*","Condition":{`+tt.condition+`}}}`)
				want := ImplicitDeny
				switch {
				case tt.met && effect == "Allow":
					want = Allow
				case tt.met:
					want = ExplicitDeny
				}
				if got := p.Decide(r); got != want {
					t.Errorf("%s if {%s}: %+v is %v, want %v", effect, tt.condition, tt.request, got, want)
				}
			}
		})
	}
}

func TestMatch(t *testing.T) {
	tests := []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"*", "any:thing/at all", true},
		{"**", "", true},
		{"?", "", false},
		{"?", "a", true},
		{"?", "ü", true},
		{"??", "ü", false},
		{"*??", "€", false}, // three bytes, one character
		{"?*?", "€", false},
		{"*??bc", "€bc", false}, // nor three after a second try
		{"a*b", "ab", true},
		{"a*b", "abab", true},
		{"a*b", "aba", false},
		{"a*b*c", "a-b-b-c", true},
		{"*a?c", "abcaxc", true},
		{"a\\*", "a*", false}, // a backslash is a backslash
		{"[a]", "a", false},
		{"?*", "*", true},
		{"\ufffd", "\xff", false},
		{"*a*b*c*", strings.Repeat("x", 10) + "a" + strings.Repeat("x", 10) + "b", false},
		// Trying every way to share the text out among the stars would outlast
		// any test run.
		{strings.Repeat("a*", 1000) + "b", strings.Repeat("a", 2000), false},
		{strings.Repeat("*a", 1000) + "*", strings.Repeat("a", 2000), true},
		{strings.Repeat("*?", 1000) + "b", strings.Repeat("a", 2000), false},
	}
	for _, tt := range tests {
		if got := match(tt.pattern, tt.s); got != tt.want {
			t.Errorf("match(%.40q, %.40q) = %v", tt.pattern, tt.s, got)
		}
	}
}

func TestDecisionString(t *testing.T) {
	for d, want := range map[Decision]string{Allow: "Allow", ImplicitDeny: "ImplicitDeny", ExplicitDeny: "ExplicitDeny"} {
		if got := d.String(); got != want {
			t.Errorf("String() = %s, want %s", got, want)
		}
	}
}
