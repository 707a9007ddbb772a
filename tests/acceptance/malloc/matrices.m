% SPDX-License-Identifier: MIT
% Matrix work whose results do not depend on where memory is. One line for each: name, values.
1;
function show(name, varargin)
  printf("%s", name);
  printf(" %.17g", varargin{:});
  printf("\n");
end

rand("twister", 42);
randn("twister", 42);

n = 400;
a = rand(n) + n * eye(n);
b = rand(n, 5);
x = a \ b;
show("solve", sum(x(:)), x(1), x(end), norm(a * x - b, "fro") < 1e-9);

s = rand(200);
e = eig(s + s');
show("eigenvalues", sum(e), e(1), e(end));

[q, r] = qr(rand(300));
show("qr", sum(abs(diag(r))), norm(q' * q - eye(300)) < 1e-12);

v = svd(rand(250, 150));
show("singular_values", sum(v), v(1), v(end));

c = chol(a' * a);
show("cholesky", sum(diag(c)), trace(c));

m = rand(600);
for k = 1:5
  m = m * m / norm(m, 1);
end
show("powers", sum(m(:)), m(1), m(end));

f = fft(rand(1, 2 ^ 18));
show("fft", abs(sum(f)), real(ifft(f))(77));

% Grows by one column at a time: a realloc or a copy each.
g = [];
for k = 1:200
  g = [g, k * ones(1000, 1)];
end
show("growing", sum(g(:)), columns(g));

t = sort(rand(1, 1e6));
show("sort", t(1), t(5e5), t(end), all(diff(t) >= 0));

w = repmat("godwit", 1, 1e5);
show("strings", length(strrep(w, "wit", "")), sum(double(w)));

cells = cell(1, 50);
for k = 1:50
  cells{k} = rand(200);
  cells{max(1, k - 10)} = [];
end
total = 0;
for k = 1:50
  total += sum(cells{k}(:));
end
show("cells", total);
