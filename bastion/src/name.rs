//! The one parser of what users type before the last `@`: `LOGIN@TARGET` or `LOGIN+TARGET`.
