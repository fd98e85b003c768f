package iam

import (
	"strings"
	"testing"
)

// statementWith returns a policy whose one statement has, beside a valid
// Effect, Action and Resource, what rest says.
func statementWith(rest string) string {
	return `{"Statement":[{"Effect":"Allow","Action":"ses:*","Resource":"*",` + rest + `}]}`
}

func TestParseAccepts(t *testing.T) {
	tests := map[string]string{
		"administrator":           AdministratorPolicy,
		"old version":             `{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`,
		"no version":              `{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`,
		"statement alone":         `{"Statement":{"Effect":"Deny","Action":"ses:Get*","Resource":"*"}}`,
		"space everywhere":        " {\n\"Statement\" : [ { \"Effect\" : \"Deny\" , \"Action\" : [ \"ses:*\" ] , \"Resource\" : [ \"*\" ] } ] }\n",
		"order does not matter":   `{"Statement":{"Resource":"*","Action":"*","Effect":"Deny","Sid":"x"},"Version":"2012-10-17"}`,
		"escaped names":           `{"Statement":{"\u0045ffect":"Allow","Action":"*","Resource":"*"}}`,
		"sid":                     statementWith(`"Sid":"Aa0"`),
		"empty sids":              `{"Statement":[{"Sid":"","Effect":"Allow","Action":"*","Resource":"*"},{"Sid":"","Effect":"Allow","Action":"*","Resource":"*"}]}`,
		"action of any service":   `{"Statement":{"Effect":"Allow","Action":["S3-Object-Lambda:?et*","execute-api:Invoke"],"Resource":"*"}}`,
		"ARN":                     `{"Statement":{"Effect":"Allow","Action":"*","Resource":["arn:aws:ses:us-east-1:111122223333:mailmanager-address-list/al-1","arn:*:ses:*:*:*:x"]}}`,
		"ARN cut short by a star": `{"Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:ses:*"}}`,
		"every operator": statementWith(`"Condition":{
			"StringEquals":{"aws:RequestTag/a":"x"},
			"StringNotEquals":{"aws:RequestTag/a":["x","y"]},
			"StringEqualsIgnoreCase":{"aws:ResourceTag/a":"x"},
			"StringNotEqualsIgnoreCaseIfExists":{"aws:ResourceTag/a":"x"},
			"StringLikeIfExists":{"aws:ResourceTag/a":"x","aws:ResourceTag/b":"*"},
			"StringNotLike":{"aws:ResourceTag/a":""},
			"ForAllValues:StringLike":{"aws:TagKeys":["a*"]},
			"ForAllValues:StringLikeIfExists":{"aws:TagKeys":["a*"]},
			"ForAnyValue:StringNotEquals":{"aws:TagKeys":["a"]},
			"Null":{"aws:TagKeys":false,"aws:RequestTag/a":"true","aws:RequestTag/b":[ "false" ]}}`),
		"key names in any case": statementWith(`"Condition":{"StringLike":{"AWS:requesttag/A":"x","aws:RESOURCETAG/ü b":"x"},"Null":{"aws:tagkeys":"true"}}`),
		"20 KiB":                AdministratorPolicy + strings.Repeat(" ", MaxPolicyBytes-len(AdministratorPolicy)),
	}
	for name, doc := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse([]byte(doc)); err != nil {
				t.Errorf("Parse(%s): %v", doc, err)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		name, doc, want string // want is the beginning of the error
	}{
		{"nothing", ``, `the policy is not JSON: byte 0`},
		{"not JSON", `{"Version":}`, `the policy is not JSON: byte 12`},
		{"cut short", `{"Statement":[`, `the policy is not JSON: byte 14`},
		{"trailing data", AdministratorPolicy + `{}`, `the policy is not JSON: byte 86: invalid character '{' after top-level value`},
		{"not UTF-8", "{\"Statement\":\"\xff\"}", `the policy is not UTF-8`},
		{"byte order mark", "\ufeff" + AdministratorPolicy, `the policy is not JSON: byte 1`},
		{"20 KiB and 1 byte", strings.Repeat(" ", MaxPolicyBytes+1), `the policy has 20481 bytes: at most 20480 are allowed`},
		{"null", `null`, `the policy: must be an object`},
		{"array", `[]`, `the policy: must be an object`},
		{"empty", `{}`, `the policy: must not be empty`},
		{"no statement", `{"Version":"2012-10-17"}`, `the policy has no Statement`},
		{"version of a date we do not know", `{"Version":"2012-10-18","Statement":[]}`, `Version: "2012-10-18" is unknown`},
		{"version of another type", `{"Version":20121017}`, `Version: must be a string`},
		{"version twice", `{"Version":"2012-10-17","Version":"2012-10-17"}`, `Version: given twice`},
		{"Id", `{"Id":"x"}`, `Id: element not supported: Version and Statement are`},
		{"wrong case", `{"statement":[]}`, `statement: element not supported`},
		{"odd name", `{"State\nment":[]}`, `["State\nment"]: element not supported`},
		{"long name", `{"` + strings.Repeat("x", 100) + `":[]}`, `["` + strings.Repeat("x", 60) + `"]: element not supported`},
		{"no name", `{"":[]}`, `[""]: element not supported`},
		{"statement twice", `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"},"Statement":{}}`, `Statement: given twice`},
		{"no statements", `{"Statement":[]}`, `Statement: must not be empty`},
		{"null statement", `{"Statement":null}`, `Statement: must be an object`},
		{"null in statements", `{"Statement":[null]}`, `Statement[0]: must be an object`},
		{"empty statement alone", `{"Statement":{}}`, `Statement: must not be empty`},
		{"third statement", `{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Allow","NotAction":"*"}]}`,
			`Statement[2].NotAction: element not supported: Sid, Effect, Action, Resource and Condition are`},
		{"NotResource", statementWith(`"NotResource":"*"`), `Statement[0].NotResource: element not supported`},
		{"Principal", statementWith(`"Principal":"*"`), `Statement[0].Principal: element not supported`},
		{"NotPrincipal", statementWith(`"NotPrincipal":"*"`), `Statement[0].NotPrincipal: element not supported`},
		{"condition in small letters", statementWith(`"condition":{}`), `Statement[0].condition: element not supported`},
		{"effect twice", statementWith(`"Effect":"Deny"`), `Statement[0].Effect: given twice`},
		{"effect twice, once escaped", statementWith(`"\u0045ffect":"Deny"`), `Statement[0].Effect: given twice`},

		{"sid", statementWith(`"Sid":"a b"`), `Statement[0].Sid: "a b" has characters other than A-Z, a-z, 0-9`},
		{"sid number", statementWith(`"Sid":1`), `Statement[0].Sid: must be a string`},
		{"same sid", `{"Statement":[{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"},{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"}]}`, `Statement[1].Sid: another statement has "a"`},
		{"no effect", `{"Statement":{"Action":"*","Resource":"*"}}`, `Statement.Effect: missing`},
		{"unknown effect", `{"Statement":{"Effect":"allow"}}`, `Statement.Effect: "allow" is neither Allow nor Deny`},
		{"empty effect", `{"Statement":{"Effect":""}}`, `Statement.Effect: "" is neither`},
		{"effect list", `{"Statement":{"Effect":["Allow"]}}`, `Statement.Effect: must be a string`},

		{"no action", `{"Statement":{"Effect":"Allow","Resource":"*"}}`, `Statement.Action: missing`},
		{"no actions", `{"Statement":{"Action":[]}}`, `Statement.Action: must not be empty`},
		{"null action", `{"Statement":{"Action":null}}`, `Statement.Action: must be a string`},
		{"null in actions", `{"Statement":{"Action":["*",null]}}`, `Statement.Action[1]: must be a string`},
		{"nested actions", `{"Statement":{"Action":[["*"]]}}`, `Statement.Action[0]: must be a string`},
		{"empty action", `{"Statement":{"Action":""}}`, `Statement.Action: "" is not an action`},
		{"action without service", `{"Statement":{"Action":"GetAddressList"}}`, `Statement.Action: "GetAddressList" is not an action`},
		{"action without name", `{"Statement":{"Action":"ses:"}}`, `Statement.Action: "ses:" is not an action`},
		{"wildcard in service", `{"Statement":{"Action":["ses:*","s*:GetAddressList"]}}`, `Statement.Action[1]: "s*:GetAddressList" is not an action`},
		{"two stars", `{"Statement":{"Action":"**"}}`, `Statement.Action: "**" is not an action`},
		{"two colons", `{"Statement":{"Action":"ses:a:b"}}`, `Statement.Action: "ses:a:b" is not an action`},
		{"space in action", `{"Statement":{"Action":"ses:Get "}}`, `Statement.Action: "ses:Get " is not an action`},
		{"variable in action", `{"Statement":{"Action":"ses:${aws:username}"}}`, `Statement.Action: "ses:${aws:username}" is not an action`},

		{"no resource", `{"Statement":{"Effect":"Allow","Action":"*"}}`, `Statement.Resource: missing`},
		{"no resources", `{"Statement":{"Resource":[]}}`, `Statement.Resource: must not be empty`},
		{"resource object", `{"Statement":{"Resource":{}}}`, `Statement.Resource: must be a string`},
		{"no ARN", `{"Statement":{"Resource":["*","al-1"]}}`, `Statement.Resource[1]: "al-1" is not a resource`},
		{"no ARN, with a star", `{"Statement":{"Resource":"al-*"}}`, `Statement.Resource: "al-*" is not a resource`},
		{"ARN cut short", `{"Statement":{"Resource":"arn:aws:ses:*:1"}}`, `Statement.Resource: "arn:aws:ses:*:1" is not a resource`},
		{"ARN without service", `{"Statement":{"Resource":"arn:*"}}`, `Statement.Resource: "arn:*" is not a resource`},
		{"ARN of empty service", `{"Statement":{"Resource":"arn:aws::::*"}}`, `Statement.Resource: "arn:aws::::*" is not a resource`},
		{"wildcard in the ARN's service", `{"Statement":{"Resource":"arn:aws:s?s:*:*:*"}}`, `Statement.Resource: "arn:aws:s?s:*:*:*" is not a resource`},
		{"variable in resource", `{"Statement":{"Resource":"arn:aws:ses:*:*:x/${aws:username}"}}`, `Statement.Resource: policy variables (${...}) are not supported`},
		{"escape in resource", `{"Statement":{"Resource":"arn:aws:ses:*:*:x/${*}"}}`, `Statement.Resource: policy variables`},

		{"null condition", statementWith(`"Condition":null`), `Statement[0].Condition: must be an object`},
		{"condition list", statementWith(`"Condition":[{}]`), `Statement[0].Condition: must be an object`},
		{"empty condition", statementWith(`"Condition":{}`), `Statement[0].Condition: must not be empty`},
		{"empty operator", statementWith(`"Condition":{"StringEquals":{}}`), `Statement[0].Condition.StringEquals: must not be empty`},
		{"operator string", statementWith(`"Condition":{"StringEquals":"x"}`), `Statement[0].Condition.StringEquals: must be an object`},
		{"operator twice", statementWith(`"Condition":{"StringLike":{"aws:RequestTag/a":"x"},"StringLike":{}}`), `Statement[0].Condition.StringLike: given twice`},
		{"unknown operator", statementWith(`"Condition":{"NumericEquals":{"aws:RequestTag/a":"1"}}`), `Statement[0].Condition.NumericEquals: operator not supported`},
		{"operator in small letters", statementWith(`"Condition":{"stringequals":{"aws:RequestTag/a":"1"}}`), `Statement[0].Condition.stringequals: operator not supported`},
		{"operator of nothing", statementWith(`"Condition":{"ForAllValues:":{"aws:TagKeys":"1"}}`), `Statement[0].Condition["ForAllValues:"]: operator not supported`},
		{"not twice", statementWith(`"Condition":{"StringNotNotEquals":{"aws:RequestTag/a":"1"}}`), `Statement[0].Condition.StringNotNotEquals: operator not supported`},
		{"IfExists twice", statementWith(`"Condition":{"StringLikeIfExistsIfExists":{"aws:RequestTag/a":"1"}}`), `Statement[0].Condition.StringLikeIfExistsIfExists: operator not supported`},
		{"unknown set", statementWith(`"Condition":{"ForSomeValues:StringLike":{"aws:TagKeys":"1"}}`), `Statement[0].Condition["ForSomeValues:StringLike"]: unknown set operator`},
		{"two sets", statementWith(`"Condition":{"ForAllValues:ForAnyValue:StringLike":{"aws:TagKeys":"1"}}`), `Statement[0].Condition["ForAllValues:ForAnyValue:StringLike"]: operator not supported`},
		{"set of Null", statementWith(`"Condition":{"ForAllValues:Null":{"aws:TagKeys":"true"}}`), `Statement[0].Condition["ForAllValues:Null"]: Null takes neither`},
		{"NullIfExists", statementWith(`"Condition":{"NullIfExists":{"aws:TagKeys":"true"}}`), `Statement[0].Condition.NullIfExists: Null takes neither`},
		{"any, if exists", statementWith(`"Condition":{"ForAnyValue:StringLikeIfExists":{"aws:TagKeys":"1"}}`), `Statement[0].Condition["ForAnyValue:StringLikeIfExists"]: ForAnyValue and IfExists disagree`},
		{"unknown key", statementWith(`"Condition":{"StringLike":{"aws:SourceIp":"1"}}`), `Statement[0].Condition.StringLike["aws:SourceIp"]: condition key not supported`},
		{"tag keys of something", statementWith(`"Condition":{"ForAnyValue:StringLike":{"aws:TagKeys/a":"1"}}`), `Statement[0].Condition["ForAnyValue:StringLike"]["aws:TagKeys/a"]: condition key not supported`},
		{"tag keys without set", statementWith(`"Condition":{"StringLike":{"aws:TagKeys":"1"}}`), `Statement[0].Condition.StringLike["aws:TagKeys"]: aws:TagKeys has many values`},
		{"no tag key", statementWith(`"Condition":{"StringLike":{"aws:RequestTag/":"1"}}`), `Statement[0].Condition.StringLike["aws:RequestTag/"]: the tag key after the slash has 0 characters`},
		{"no slash", statementWith(`"Condition":{"StringLike":{"aws:RequestTag":"1"}}`), `Statement[0].Condition.StringLike["aws:RequestTag"]: condition key not supported`},
		{"long tag key", statementWith(`"Condition":{"StringLike":{"aws:RequestTag/` + strings.Repeat("ü", 129) + `":"1"}}`), `Statement[0].Condition.StringLike["aws:RequestTag/` + strings.Repeat("ü", 45) + `"]: the tag key after the slash has 129 characters`},
		{"variable in tag key", statementWith(`"Condition":{"StringLike":{"aws:RequestTag/${aws:username}":"1"}}`), `Statement[0].Condition.StringLike["aws:RequestTag/${aws:username}"]: policy variables`},
		{"key twice", statementWith(`"Condition":{"StringLike":{"aws:RequestTag/a":"1","aws:RequestTag/a":"2"}}`), `Statement[0].Condition.StringLike["aws:RequestTag/a"]: given twice`},
		{"no values", statementWith(`"Condition":{"StringLike":{"aws:RequestTag/a":[]}}`), `Statement[0].Condition.StringLike["aws:RequestTag/a"]: must not be empty`},
		{"number", statementWith(`"Condition":{"StringLike":{"aws:RequestTag/a":["1",2]}}`), `Statement[0].Condition.StringLike["aws:RequestTag/a"][1]: must be a string`},
		{"bool", statementWith(`"Condition":{"StringLike":{"aws:RequestTag/a":true}}`), `Statement[0].Condition.StringLike["aws:RequestTag/a"]: must be a string`},
		{"variable in value", statementWith(`"Condition":{"StringLike":{"aws:RequestTag/a":["x","${aws:username}"]}}`), `Statement[0].Condition.StringLike["aws:RequestTag/a"][1]: policy variables`},
		{"half a surrogate pair in a value", statementWith(`"Condition":{"StringLike":{"aws:RequestTag/a":"\ud800"}}`), `Statement[0].Condition.StringLike["aws:RequestTag/a"]: holds U+FFFD`},
		{"half a surrogate pair in a tag key", statementWith(`"Condition":{"StringLike":{"aws:RequestTag/\udc00":"x"}}`), `Statement[0].Condition.StringLike["aws:RequestTag/�"]: holds U+FFFD`},
		{"Null of a word", statementWith(`"Condition":{"Null":{"aws:TagKeys":"True"}}`), `Statement[0].Condition.Null["aws:TagKeys"]: Null wants true or false, once`},
		{"Null of null", statementWith(`"Condition":{"Null":{"aws:TagKeys":null}}`), `Statement[0].Condition.Null["aws:TagKeys"]: must be a string`},
		{"Null of both", statementWith(`"Condition":{"Null":{"aws:TagKeys":["true","false"]}}`), `Statement[0].Condition.Null["aws:TagKeys"]: Null wants true or false, once`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Parse([]byte(tt.doc))
			if err == nil {
				t.Fatalf("Parse accepted %s", tt.doc)
			}
			if p != nil {
				t.Error("Parse returned a policy beside the error")
			}
			if !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("error is\n%s\nand not\n%s...", err, tt.want)
			}
			if len(err.Error()) > 500 || strings.Contains(err.Error(), "\n") {
				t.Errorf("error is not one short line: %q", err)
			}
		})
	}
}
