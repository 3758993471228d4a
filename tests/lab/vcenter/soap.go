package main

import (
	"bytes"
	"fmt"
	"net/http"
	"reflect"

	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

const (
	envelopeStart = xml.Header + `<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"` +
		` xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">` +
		`<soapenv:Body>`
	envelopeEnd = `</soapenv:Body></soapenv:Envelope>`
)

// answer is what a request got, kept until it is clear whether it may reach the client.
type answer struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func newAnswer() *answer { return &answer{status: http.StatusOK, header: http.Header{}} }

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) { a.status = status }

func (a *answer) Write(data []byte) (int, error) { return a.body.Write(data) }

func (a *answer) send(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body.Bytes())
}

// writeResponse answers a SOAP call; inner is the XML inside its response element.
func writeResponse(a *answer, method, inner string) {
	a.header.Set("Content-Type", "text/xml; charset=utf-8")
	fmt.Fprintf(&a.body, `%s<%sResponse xmlns="urn:vim25">%s</%sResponse>%s`,
		envelopeStart, method, inner, method, envelopeEnd)
}

func writeTask(a *answer, method string, task types.ManagedObjectReference) {
	writeResponse(a, method, fmt.Sprintf(`<returnval type="Task">%s</returnval>`, task.Value))
}

// faultDetail is encoded as an element that bears the fault's type, as a vCenter's is.
type faultDetail struct{ fault types.BaseMethodFault }

func (d faultDetail) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	kind := reflect.TypeOf(d.fault).Elem().Name()
	start.Name.Local = kind + "Fault"
	start.Attr = append(start.Attr,
		xml.Attr{Name: xml.Name{Local: "xmlns"}, Value: "urn:vim25"},
		xml.Attr{Name: xml.Name{Local: "xsi:type"}, Value: kind})
	return e.EncodeElement(d.fault, start)
}

type soapFault struct {
	XMLName xml.Name `xml:"soapenv:Fault"`
	Code    string   `xml:"faultcode"`
	String  string   `xml:"faultstring"`
	Detail  struct {
		Fault faultDetail
	} `xml:"detail"`
}

func writeFault(a *answer, fault types.BaseMethodFault, text string) {
	body := soapFault{Code: "ServerFaultCode", String: text}
	body.Detail.Fault.fault = fault
	a.body.Reset()
	a.header.Set("Content-Type", "text/xml; charset=utf-8")
	a.status = http.StatusInternalServerError
	var out bytes.Buffer
	if err := xml.NewEncoder(&out).Encode(body); err != nil {
		panic(err)
	}
	a.body.WriteString(envelopeStart)
	a.body.Write(out.Bytes())
	a.body.WriteString(envelopeEnd)
}

// encoded is a request, for the simulator.
func encoded(method string, body interface{}) []byte {
	var text bytes.Buffer
	start := xml.StartElement{Name: xml.Name{Space: "urn:vim25", Local: method}}
	if err := xml.NewEncoder(&text).EncodeElement(body, start); err != nil {
		panic(err)
	}
	return []byte(envelopeStart + text.String() + envelopeEnd)
}

func (a *answer) restore(indexes *indexes) {
	if indexes != nil {
		text := indexes.restore(a.body.String())
		a.body.Reset()
		a.body.WriteString(text)
	}
}
