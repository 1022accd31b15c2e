// Empty: the target that compiles the headers of all tests needs a source.
