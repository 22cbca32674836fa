#include "actors/actors.hpp"
