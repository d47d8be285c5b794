package push

// Fit returns the message as it fits a service. As long as fits reports that it is too large, it loses what it can do without,
// in this order: l, s, bm, cn. What still does not fit is returned as it then is.
//
// Source: app-api.md "Web Push", for every service.
func (m Message) Fit(fits func(Message) bool) Message {
	for _, leaveOut := range []func(*Message){
		func(m *Message) { m.Location = nil },
		func(m *Message) { m.Source = nil },
		func(m *Message) { m.BindingMessage = "" },
		func(m *Message) { m.ClientName = "" },
	} {
		if fits(m) {
			break
		}
		leaveOut(&m)
	}
	return m
}
