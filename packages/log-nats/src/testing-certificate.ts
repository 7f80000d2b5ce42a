/** A certificate for localhost, and for no address, that nobody has signed but itself; good until 2126. The same as packages/gateway/test/certificate.ts, where no driver may look. */
export const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBljCCATugAwIBAgIUZM2HI5jiU3++fydsX/XmVEOr2fIwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMzE4MzMyN1oYDzIxMjYxMDMw
MTgzMzI3WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAS2QlK03qEJnEPWXoDouJpf+KrX9vEuGBMEgzpdYSLUlP69XeZwBMfG
mPqMwUxcDIJnitnYXRnVPszFPfDkH0VUo2kwZzAdBgNVHQ4EFgQUgitqMTU9Ye2+
bAAZ6e/Q8BpcId0wHwYDVR0jBBgwFoAUgitqMTU9Ye2+bAAZ6e/Q8BpcId0wDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID
SQAwRgIhANdPHGxWZawvGuJGf/bnZzWLwnW7VIQFo8KxWNtztSLTAiEA7jPnzwG5
wnvZyHro7wsBfJbVr/7glJGSXL9pfb60aKw=
-----END CERTIFICATE-----
`;

export const CERTIFICATE_KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgb+SjYTnzTxgbA9K7
tYsM6/XI9cQvcdEj1eMczJqjOzahRANCAAS2QlK03qEJnEPWXoDouJpf+KrX9vEu
GBMEgzpdYSLUlP69XeZwBMfGmPqMwUxcDIJnitnYXRnVPszFPfDkH0VU
-----END PRIVATE KEY-----
`;
