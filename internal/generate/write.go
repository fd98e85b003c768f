package generate

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Records are templates, which fill completes. All text is such that JSON needs no
// escapes but those that stand in it.

const (
	mailStart = `{"eventType":"%e","mail":{"timestamp":"%S","source":"%f",`
	mailARN   = `"sourceArn":"arn:aws:ses:%R:%A:identity/%i",` // opens and clicks come without
	mailIDs   = `"sendingAccountId":"%A","messageId":"%m","destination":[%L],"headersTruncated":false,`
	// Delays and failed renderings come without.
	headers = `"headers":[{"name":"From","value":"%N <%f>"},{"name":"To","value":"%V"},{"name":"Subject","value":"%s"},` +
		`{"name":"Date","value":"%D"},{"name":"MIME-Version","value":"1.0"},{"name":"Content-Type","value":"multipart/alternative;  boundary=\"----=_Part_%B\""}`
	listHeaders = `,{"name":"List-Unsubscribe","value":"<https://www.%W/unsubscribe/%b>, <mailto:unsubscribe@%W>"},` +
		`{"name":"List-Unsubscribe-Post","value":"List-Unsubscribe=One-Click"}`
	commonHeaders = `],"commonHeaders":{"from":["%N <%f>"],"date":"%D","to":[%L],"messageId":"%m","subject":"%s"},`
	tags          = `"tags":{"ses:operation":["%O"],"ses:configuration-set":["%C"],"ses:source-ip":["203.0.113.%q"],` +
		`"ses:from-domain":["%W"],"ses:caller-identity":["%w"],"kind":["%K"],%G`
	campaignTag = `,"campaign":["%k"]`
	laterTags   = `,"ses:outgoing-ip":["%o"]`
	mailEnd     = `}},`
)

// happenings are the rest of a record of each kind.
var happenings = [...]string{
	sending: `"send":{}}`,
	delivery: `"delivery":{"timestamp":"%T","processingTimeMillis":%l,"recipients":["%a"],"smtpResponse":"%y","remoteMtaIp":"%I",` +
		`"reportingMTA":"%h.smtp-out.amazonses.com"}}`,
	delay: `"deliveryDelay":{"timestamp":"%T","delayType":"%z","expirationTime":"%E","delayedRecipients":[{"emailAddress":"%a","status":"4.4.7","diagnosticCode":"%y"}],` +
		`"reportingMTA":"%h.smtp-out.amazonses.com"}}`,
	bounce: `"bounce":{"feedbackId":"%F","bounceType":"%j","bounceSubType":"%z","bouncedRecipients":[{"emailAddress":"%a","action":"failed","status":"%v","diagnosticCode":"%y"}],` +
		`"timestamp":"%T","reportingMTA":"dns; %h.smtp-out.amazonses.com"}}`,
	complaint: `"complaint":{"feedbackId":"%F","complaintSubType":null,"complainedRecipients":[{"emailAddress":"%a"}],"timestamp":"%T",` +
		`"userAgent":"%z","complaintFeedbackType":"abuse","arrivalDate":"%T"}}`,
	reject:  `"reject":{"reason":"Bad content"}}`,
	failure: `"failure":{"templateName":"%K-v4","errorMessage":"Attribute 'name' is not present in the rendering data."}}`,
	open:    `"open":{"timestamp":"%T","ipAddress":"%p","userAgent":"%u","isBotEvent":"%z"}}`,
	click:   `"click":{"timestamp":"%T","ipAddress":"%p","userAgent":"%u","isBotEvent":"%z","link":"https://www.%W%y","linkTags":{"place":["%j"]}}}`,
	subscription: `"subscription":{"contactList":"readers","timestamp":"%T","source":"UnsubscribeHeader",` +
		`"newTopicPreferences":{"unsubscribeAll":true,"topicSubscriptionStatus":[{"topicName":"%K","subscriptionStatus":"OptOut"}]},` +
		`"oldTopicPreferences":{"unsubscribeAll":false,"topicSubscriptionStatus":[{"topicName":"%K","subscriptionStatus":"OptIn"}]}}}`,
}

var eventTypes = [...]string{
	sending: "Send", delivery: "Delivery", delay: "DeliveryDelay", bounce: "Bounce", complaint: "Complaint", reject: "Reject",
	failure: "Rendering Failure", open: "Open", click: "Click", subscription: "Subscription",
}

// bounces are SES's words for a bounce, and the status.
var bounces = [...]struct{ bounceType, subType, status string }{
	gone:       {"Permanent", "General", "5.1.1"},
	onAccount:  {"Permanent", "OnAccountSuppressionList", "5.1.1"},
	refused:    {"Transient", "General", "5.7.1"},
	neverTaken: {"Transient", "General", "4.4.7"},
	unclear:    {"Undetermined", "Undetermined", "5.3.0"},
}

const (
	suppressedText = "Amazon SES did not send the message to this address because it is on the suppression list for your account. " +
		"For more information about removing addresses from the suppression list, see the Amazon SES Developer Guide at " +
		"https://docs.aws.amazon.com/ses/latest/DeveloperGuide/sending-email-suppression-list.html"
	neverTakenText = "smtp; 554 4.4.7 Message expired: unable to deliver in 840 minutes.<%r>"
	unclearText    = "smtp; 511 5.3.0 unknown"
)

var (
	feedbackAgents = []string{"Yahoo!-Mail-Feedback/2.0", "Hotmail FBL", "Comcast Feedback Loop (v1.4)", "AOL SComp"}
	linkPlaces     = []string{"header", "article", "button", "footer"}
)

// record is what is being written.
type record struct {
	random   *rand.Rand
	kind     kind
	to       *person
	happened int64
	lag      uint32
	// What only some kinds have, as their templates say.
	j, v, y, z string
	agent      string
	ip         uint64
	proxied    bool
}

// write appends the record of what is due.
func (g *Generator) write(b []byte, d due) []byte {
	happened := d.at - int64(d.late)
	m := g.make(d.number, happened-int64(d.lag))
	s := &senders[m.sender]
	g.record = record{
		random: g.seeded(ofRecord+uint64(d.kind), d.number<<16|uint64(d.which)<<8|uint64(d.to)),
		kind:   d.kind, to: &m.to[d.to], happened: happened, lag: d.lag,
	}
	g.choose(d)

	b = g.fill(b, mailStart)
	if d.kind != open && d.kind != click {
		b = g.fill(b, mailARN)
	}
	b = g.fill(b, mailIDs)
	if d.kind != delay && d.kind != failure {
		b = g.fill(b, headers)
		if s.list {
			b = g.fill(b, listHeaders)
		}
		b = g.fill(b, commonHeaders)
	}
	b = g.fill(b, tags)
	if s.campaign > 0 {
		b = g.fill(b, campaignTag)
	}
	if d.kind != sending && d.kind != reject && d.kind != failure {
		b = g.fill(b, laterTags)
	}
	return g.fill(append(b, mailEnd...), happenings[d.kind])
}

// choose settles what only some kinds have.
func (g *Generator) choose(d due) {
	r, is := &g.record, g.record.to.provider
	switch d.kind {
	case delivery:
		r.y = is.accepts
	case delay:
		r.y, r.z = is.defers, is.delay
	case bounce:
		r.j, r.z, r.v = bounces[d.which].bounceType, bounces[d.which].subType, bounces[d.which].status
		r.y = [...]string{gone: is.gone, onAccount: suppressedText, refused: is.refuses, neverTaken: neverTakenText, unclear: unclearText}[d.which]
		if d.which == gone && r.to.mix%4 == 0 {
			r.z = "NoEmail"
		}
		if d.which == refused && strings.Contains(is.refuses, "5.2.2") {
			r.z, r.v = "MailboxFull", "5.2.2"
		}
	case complaint:
		r.z = feedbackAgents[r.to.mix%uint64(len(feedbackAgents))]
	case open:
		r.z = "Unlikely"
		r.proxied = is.proxy != "" && r.random.Float64() >= fromApps
	case click:
		r.y, r.j = links[r.random.IntN(len(links))], linkPlaces[r.random.IntN(len(linkPlaces))]
		r.z = "Unlikely"
	}
	// Each person has a phone and a desk.
	device := r.to.mix >> (16 * r.random.IntN(2))
	r.agent, r.ip = userAgents[device%uint64(len(userAgents))], device
	if r.proxied {
		r.agent, r.ip = is.proxy, r.random.Uint64()
	}
	if d.kind == click && d.which >= scans {
		r.agent, r.z = scannerAgent, "Likely"
	}
}

// fill appends a template. In it a % and a letter stand for something of the
// message, of its recipient or of what happened; any other % for itself.
func (g *Generator) fill(b []byte, template string) []byte {
	m, r := &g.message, &g.record
	s := &senders[m.sender]
	for {
		i := strings.IndexByte(template, '%')
		if i < 0 || i+1 == len(template) {
			return append(b, template...)
		}
		b = append(b, template[:i]...)
		letter := template[i+1]
		template = template[i+2:]
		switch letter {
		// Of the message.
		case 'A':
			b = append(b, g.Account...)
		case 'B': // a number that its records share
			b = strconv.AppendUint(b, mix(m.number)>>16, 10)
		case 'b':
			b = appendHex(b, mix(m.number), 16)
		case 'C':
			b = append(b, s.configurationSet...)
		case 'c':
			b = strconv.AppendInt(b, m.campaign, 10)
		case 'D':
			b = time.UnixMilli(m.sent).UTC().AppendFormat(b, time.RFC1123Z)
		case 'f':
			b = append(b, s.address...)
		case 'G':
			b = append(b, s.tags...)
		case 'h': // SES's host
			b = append(b, 'a')
			b = strconv.AppendInt(b, int64(8+m.outgoing%4), 10)
			b = append(b, '-')
			b = strconv.AppendInt(b, int64(10+m.outgoing), 10)
		case 'i':
			b = append(b, s.identity...)
		case 'K':
			b = append(b, s.kind...)
		case 'k':
			b = append(append(b, s.kind...), '-')
			b = strconv.AppendInt(b, m.campaign, 10)
		case 'L', 'V':
			for i := range m.to {
				b = m.appendTo(b, i, letter == 'L')
			}
		case 'm':
			b = append(b, m.id...)
		case 'N':
			b = append(b, s.name...)
		case 'n': // a number of four digits, of the message's own
			b = strconv.AppendUint(b, 1000+mix(m.number)%9000, 10)
		case 'O':
			b = append(b, s.operation...)
		case 'o': // SES's address
			b = append(b, "54.240."...)
			b = strconv.AppendInt(b, int64(8+m.outgoing%4), 10)
			b = append(b, '.')
			b = strconv.AppendInt(b, int64(10+m.outgoing), 10)
		case 'q':
			b = strconv.AppendInt(b, int64(10+m.sender), 10)
		case 'R':
			b = append(b, g.Region...)
		case 'S':
			b = g.dates[0].append(b, m.sent)
		case 's':
			b = append(b, m.subject...)
		case 'W':
			b = append(b, s.from...)
		case 'w':
			b = append(b, s.user...)
		// Of the recipient.
		case 'a':
			b = append(b, r.to.address...)
		case 'd':
			b = append(b, r.to.domain...)
		case 'I': // the address of their provider's server
			b = appendIP(b, r.to.provider.address, r.random.Uint64())
		case 'r': // the name of it
			b = g.fill(b, r.to.provider.mx)
		// Of what happened.
		case 'E': // when SES gives up
			b = g.dates[1].append(b, m.sent+14*hour)
		case 'e':
			b = append(b, eventTypes[r.kind]...)
		case 'F': // a feedback id
			b = appendHex(append(b, "0100"...), uint64(r.happened), 12)
			b = appendUUID(append(b, '-'), r.random)
			b = append(b, "-000000"...)
		case 'l':
			b = strconv.AppendUint(b, uint64(r.lag), 10)
		case 'p':
			if r.proxied {
				b = appendIP(b, proxies[r.ip%uint64(len(proxies))], r.ip>>8)
			} else {
				b = appendIP(b, networks[r.ip%uint64(len(networks))], r.ip>>8)
			}
		case 'T':
			b = g.dates[1].append(b, r.happened)
		case 't':
			b = strconv.AppendInt(b, r.happened/second, 10)
		case 'u':
			b = append(b, r.agent...)
		case 'X':
			b = appendText(b, "0123456789ABCDEF", r.random.Uint64(), 10)
		case 'x':
			b = appendText(b, "0123456789abcdefghijklmnopqrstuv", r.random.Uint64(), 12)
		case 'j':
			b = append(b, r.j...)
		case 'v':
			b = append(b, r.v...)
		case 'y':
			b = g.fill(b, r.y)
		case 'z':
			b = append(b, r.z...)
		default:
			b = append(b, '%', letter)
		}
	}
}

// Networks that people, and the proxies of their providers, are in.
var (
	networks = []string{"86.14", "93.184", "91.12", "79.210", "73.92", "98.44", "174.210", "2.28", "81.2", "201.17", "189.4", "49.36", "103.21", "122.161", "178.62", "5.18"}
	proxies  = []string{"66.249", "74.125", "66.102", "209.73", "104.28", "172.225"}
)

// appendTo appends a recipient to those before, as an element of a JSON array or as
// it stands in a header field.
func (m *message) appendTo(b []byte, i int, element bool) []byte {
	if element {
		b = append(b, `,"`[max(0, 1-i):]...)
	} else if i > 0 {
		b = append(b, ", "...)
	}
	b = append(b, m.to[i].address...)
	if element {
		b = append(b, '"')
	}
	return b
}

func appendIP(b []byte, network string, host uint64) []byte {
	b = append(append(b, network...), '.')
	b = strconv.AppendUint(b, host>>8&0xff, 10)
	b = append(b, '.')
	return strconv.AppendUint(b, host%254+1, 10)
}

func appendUUID(b []byte, r *rand.Rand) []byte {
	x, y := r.Uint64(), r.Uint64()
	b = appendHex(b, x>>32, 8)
	b = appendHex(append(b, '-'), x>>16, 4)
	b = appendHex(append(b, '-'), x&0x0fff|0x4000, 4)
	b = appendHex(append(b, '-'), y>>48&0x3fff|0x8000, 4)
	return appendHex(append(b, '-'), y, 12)
}

// appendHex appends the last digits of a number.
func appendHex(b []byte, n uint64, digits int) []byte {
	for i := digits - 1; i >= 0; i-- {
		b = append(b, "0123456789abcdef"[n>>(4*i)&15])
	}
	return b
}

// appendText appends so many characters of a number of them that is a power of two.
func appendText(b []byte, of string, n uint64, length int) []byte {
	for range length {
		b = append(b, of[n%uint64(len(of))])
		n /= uint64(len(of))
	}
	return b
}

// date writes times, and remembers the last day: the next time is often on it.
type date struct {
	day  int64 // since 1970
	text string
}

func (d *date) append(b []byte, ms int64) []byte {
	if ms/day != d.day || d.text == "" {
		d.day, d.text = ms/day, time.UnixMilli(ms).UTC().Format(time.DateOnly)
	}
	b = append(append(b, d.text...), 'T')
	b = appendDigits(b, ms%day/hour, 2)
	b = appendDigits(append(b, ':'), ms%hour/minute, 2)
	b = appendDigits(append(b, ':'), ms%minute/second, 2)
	return append(appendDigits(append(b, '.'), ms%second, 3), 'Z')
}

func appendDigits(b []byte, n int64, digits int) []byte {
	if digits > 1 {
		b = appendDigits(b, n/10, digits-1)
	}
	return append(b, byte('0'+n%10))
}
