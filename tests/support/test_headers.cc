// Nothing: the target that the headers of all tests are compiled for has to have a source.
