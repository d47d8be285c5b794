package device

import (
	"errors"
	"net/url"

	"tutela/storage"
	"tutela/storage/legible"
	"tutela/storage/setting"
)

// App is what the enrolment page says about the organisation's app. A field that is not set is "".
type App struct {
	Name   string
	Apple  string // where an iPhone gets it
	Google string // where an Android phone gets it
}

const (
	maxAppName = 255
	maxAppLink = 2000
)

// The settings of the app, by the names of package setting.
var (
	appName = setting.Text("app.name", "what the enrolment page calls the app that people are to use", "a name",
		func(text string) (string, error) { return text, legible.Require("it", text, maxAppName) })
	appApple  = setting.Text("app.apple_link", "where the enrolment page sends iPhones for the app", "an https URL", checkLink)
	appGoogle = setting.Text("app.google_link", "where the enrolment page sends Android phones for the app", "an https URL", checkLink)
)

// AppSettings are the names of the settings of the app, in the order of App's fields.
func AppSettings() (name, apple, google string) {
	return appName.Name(), appApple.Name(), appGoogle.Name()
}

// checkLink accepts https only: other schemes can do things in a browser that our pages must not offer.
func checkLink(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || len(text) > maxAppLink {
		return "", errors.New("it is not an https URL")
	}
	return u.String(), nil
}

// ReadApp returns the app's settings.
func ReadApp(tx *storage.Tx) (app App, err error) {
	var errs [3]error
	app.Name, errs[0] = appName.Get(tx)
	app.Apple, errs[1] = appApple.Get(tx)
	app.Google, errs[2] = appGoogle.Get(tx)
	return app, errors.Join(errs[:]...)
}
