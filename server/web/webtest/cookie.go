package webtest

// Keep gives the tab a cookie of a host, as a page of that host would by script: a name with a prefix is kept as browsers keep it.
func (c *Tab) Keep(base, name, value string) {
	c.t.Helper()
	set := c.Call("Network.setCookie", map[string]any{
		"url":          base,
		"name":         name,
		"value":        value,
		"path":         "/",
		"secure":       true,
		"httpOnly":     true,
		"sameSite":     "Lax",
		"sourceScheme": "Secure",
	})
	if set["success"] != true {
		c.t.Fatalf("the browser keeps no cookie %s of %s: %v", name, base, set)
	}
}
