package passkey

// RelyingPartySetting is the name of the setting of the domain that passkeys belong to.
func RelyingPartySetting() string { return relyingParty.Name() }

// VerificationSetting is the name of the setting that says whether security keys verify their user.
func VerificationSetting() string { return verification.Name() }
