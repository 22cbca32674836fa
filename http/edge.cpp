#include "http/edge.hpp"
